"""The serving recipe of skrecsys' README: FastAPI and its AsyncRecommender, over an item kNN of a log."""

import os

import polars as pl
from fastapi import FastAPI
from skrecsys.integrations.batching import AsyncRecommender
from skrecsys.recommendation import ItemKNNRecommender

pairs = pl.read_parquet(os.environ["PAIRS"]).select("user_id", "item_id").to_numpy()
app = FastAPI()
recommender = AsyncRecommender(
    ItemKNNRecommender(n_neighbors=50, n_jobs=1).fit(pairs), n_recommendations=10, max_batch_size=100
)


@app.get("/users/{user_id}/recommendations")
async def recommendations(user_id: int):
    items, _ = await recommender.recommend(user_id)
    return items.tolist()
