"""One file = one algorithm = one public class; ``base`` holds their contract."""

from cofactor.models.als import ImplicitALS
from cofactor.models.base import FactorModel, Recommender
from cofactor.models.blend import Blend
from cofactor.models.covisitation import CoVisitation
from cofactor.models.ease import EASE
from cofactor.models.fallback import Fallback
from cofactor.models.next_basket import NextBasket
from cofactor.models.personal_popular import PersonalPopular
from cofactor.models.popular import Popular
from cofactor.models.pure_svd import PureSVD
from cofactor.models.random import Random
from cofactor.models.session_knn import SessionKNN

__all__ = [
    "EASE",
    "Blend",
    "CoVisitation",
    "FactorModel",
    "Fallback",
    "ImplicitALS",
    "NextBasket",
    "PersonalPopular",
    "Popular",
    "PureSVD",
    "Random",
    "Recommender",
    "SessionKNN",
]
