"""One file = one algorithm = one public class; ``base`` holds their contract."""

from cofactor.models.als import ImplicitALS
from cofactor.models.base import FactorModel, Recommender
from cofactor.models.blend import Blend
from cofactor.models.covisitation import CoVisitation
from cofactor.models.covisitation_sum import CoVisitationSum
from cofactor.models.ease import EASE
from cofactor.models.fallback import Fallback
from cofactor.models.graph_filter import GraphFilter
from cofactor.models.item_knn import ItemKNN
from cofactor.models.next_basket import NextBasket
from cofactor.models.personal_popular import PersonalPopular
from cofactor.models.popular import Popular
from cofactor.models.pure_svd import PureSVD
from cofactor.models.random import Random
from cofactor.models.repurchase import Repurchase
from cofactor.models.rp3beta import RP3beta
from cofactor.models.session_knn import SessionKNN
from cofactor.models.slim import SLIM
from cofactor.models.user_knn import UserKNN

__all__ = [
    "EASE",
    "SLIM",
    "Blend",
    "CoVisitation",
    "CoVisitationSum",
    "FactorModel",
    "Fallback",
    "GraphFilter",
    "ImplicitALS",
    "ItemKNN",
    "NextBasket",
    "PersonalPopular",
    "Popular",
    "PureSVD",
    "RP3beta",
    "Random",
    "Recommender",
    "Repurchase",
    "SessionKNN",
    "UserKNN",
]
