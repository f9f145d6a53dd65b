"""A list of ten that never changes, behind FastAPI: what the frameworks alone can do."""

from fastapi import FastAPI

app = FastAPI()
LIST = {"user": 1, "items": [{"item": i, "score": 1.0 / (i + 1)} for i in range(10)]}


@app.get("/constant")
async def constant() -> dict:
    return LIST
