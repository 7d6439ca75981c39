"""The table of predictors. A new one is one module and one line here."""

from common.registry import Registry

PREDICTORS = Registry(
    "predictor",
    {
        "lenet": "renas.predictor:LeNetPredictor",
        "boosting": "common.predictors.boosting:Boosting",
        "extra_trees": "common.predictors.extra_trees:ExtraTrees",
        "gp": "common.predictors.gp:GaussianProcess",
        "svr": "common.predictors.svr:Svr",
        "ensemble": "common.predictors.ensemble:Ensemble",
        "auto": "common.predictors.ensemble:Auto",
    },
)
