"""A data set, a model and its metrics: what succeeds, with artifacts of each kind."""

from kfp import dsl
from kfp.dsl import ClassificationMetrics, Dataset, Input, Metrics, Model, Output


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def load(rows: int, data: Output[Dataset]) -> int:
    """So many rows."""
    print(f"writing {rows} rows")
    with open(data.path, "w") as file:
        file.writelines(f"{n},{n * n}\n" for n in range(rows))
    data.metadata["columns"] = "n,square"
    return rows


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def fit(data: Input[Dataset], model: Output[Model], metrics: Output[Metrics], classes: Output[ClassificationMetrics]) -> float:
    """A model in a folder, and numbers about it."""
    import os

    with open(data.path) as file:
        total = sum(int(line.split(",")[1]) for line in file)
    os.makedirs(model.path)
    with open(os.path.join(model.path, "weights.txt"), "w") as file:
        file.write(str(total))
    metrics.log_metric("total", total)
    metrics.log_metric("recall", 0.75)
    classes.log_confusion_matrix(["a", "b"], [[1, 2], [3, 4]])
    return float(total)


@dsl.pipeline(name="train", description="Loads rows and fits a model to them.")
def train(rows: int = 4) -> float:
    """Two steps."""
    loaded = load(rows=rows)
    return fit(data=loaded.outputs["data"]).outputs["Output"]
