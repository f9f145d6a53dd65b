"""A list of ten that never changes, behind FastAPI: what the frameworks alone can do."""

from fastapi import FastAPI

app = FastAPI()
LIST = {
    "model": {"name": "constant", "version": "0"},
    "lists": [{"user": 1, "items": [{"item": i, "score": 1.0 / (i + 1)} for i in range(10)], "source": "model"}],
}


@app.get("/constant")
async def constant():  # as most are written; with a type, pydantic writes the answer
    return LIST


@app.get("/typed")
async def typed() -> dict:
    return LIST
