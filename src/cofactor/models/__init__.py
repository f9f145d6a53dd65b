"""One file = one algorithm = one public class; ``base`` holds their contract."""

from cofactor.models.base.factor import FactorModel
from cofactor.models.base.rating import RatingModel
from cofactor.models.base.recommender import Recommender
from cofactor.models.baselines.popular import Popular
from cofactor.models.baselines.random import Random
from cofactor.models.combined.blend import Blend
from cofactor.models.combined.fallback import Fallback
from cofactor.models.combined.history_rerank import HistoryRerank
from cofactor.models.factors.als import ImplicitALS
from cofactor.models.factors.fixed import FixedFactors
from cofactor.models.factors.pure_svd import PureSVD
from cofactor.models.item_to_item.ease import EASE
from cofactor.models.item_to_item.graph_filter import GraphFilter
from cofactor.models.item_to_item.slim import SLIM
from cofactor.models.neighbours.item_knn import ItemKNN
from cofactor.models.neighbours.rp3beta import RP3beta
from cofactor.models.neighbours.user_knn import UserKNN
from cofactor.models.ratings.bayesian_mf import BayesianMF
from cofactor.models.ratings.bias_only import BiasOnly
from cofactor.models.ratings.biased_mf import BiasedMF
from cofactor.models.ratings.coclustering import CoClustering
from cofactor.models.ratings.factorization_machine import FactorizationMachine
from cofactor.models.ratings.global_mean import GlobalMean
from cofactor.models.ratings.svdpp import SVDpp
from cofactor.models.repeats.next_basket import NextBasket
from cofactor.models.repeats.personal_popular import PersonalPopular
from cofactor.models.repeats.repurchase import Repurchase
from cofactor.models.sampled.item_pairs_mf import ItemPairsMF
from cofactor.models.sampled.sampled_mf import SampledMF
from cofactor.models.sampled.session_mf import SessionMF
from cofactor.models.sessions.covisitation import CoVisitation
from cofactor.models.sessions.covisitation_sum import CoVisitationSum
from cofactor.models.sessions.session_knn import SessionKNN

__all__ = [
    "EASE",
    "SLIM",
    "BayesianMF",
    "BiasOnly",
    "BiasedMF",
    "Blend",
    "CoClustering",
    "CoVisitation",
    "CoVisitationSum",
    "FactorModel",
    "FactorizationMachine",
    "Fallback",
    "FixedFactors",
    "GlobalMean",
    "GraphFilter",
    "HistoryRerank",
    "ImplicitALS",
    "ItemKNN",
    "ItemPairsMF",
    "NextBasket",
    "PersonalPopular",
    "Popular",
    "PureSVD",
    "RP3beta",
    "Random",
    "RatingModel",
    "Recommender",
    "Repurchase",
    "SVDpp",
    "SampledMF",
    "SessionKNN",
    "SessionMF",
    "UserKNN",
]
