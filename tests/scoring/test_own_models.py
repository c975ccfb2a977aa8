"""A team's own classifier: the same held-out dates and gate, exact explanations, no code from a portfolio."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import healthseg as hs
from healthseg.errors import CalculationError, InvalidParameters
from healthseg.scoring.churn.candidates import rows_at_risk
from healthseg.scoring.churn.own_models import OwnClassifier, column_names, create, identity
from healthseg.settings import settings
from tests.scoring.churn_rows import as_of, panel

MONTHS = 12


def _logistic():
    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=0.05))


class LongestWaiting:
    """Ranks by one column alone: log odds −2 + 3 × (1 − seats used), whatever it is taught."""

    def fit(self, X, y):
        self.columns_ = list(X.columns)
        return self

    def predict_proba(self, X):
        p = special.expit(-2 + 3 * (1 - X["seat_utilisation"].fillna(0.7)))
        return np.column_stack([1 - p, p])

    def __repr__(self):
        return "LongestWaiting()"


hs.ChurnModel.register("logistic", _logistic)
hs.ChurnModel.register("longest_waiting", LongestWaiting)
hs.ChurnModel.register("same_for_all", DummyClassifier)
hs.ChurnModel.register("no_probabilities", Ridge)


@pytest.fixture(scope="module")
def rows():
    frame, event = panel(150, MONTHS, seed=1)
    return rows_at_risk(frame, event, as_of(MONTHS))


def _fit(rows, name):
    return hs.ChurnModel.fit(rows, as_of(MONTHS), settings({"churn_estimator": name}))


@pytest.fixture(scope="module")
def model(rows):
    return _fit(rows, "logistic")


def test_a_classifier_with_signal_passes_the_gate_and_follows_the_planted_law(rows, model):
    assert model.eligible and model.kind == "own" and model.gate.auc > 0.62
    predicted = model.predict(rows, [30])
    truth = rows.sort_values(["client_id", "date"])["odds"].to_numpy()
    assert np.corrcoef(special.logit(predicted["probability"]), truth)[0, 1] > 0.75
    assert predicted["probability"].mean() == pytest.approx(special.expit(truth).mean(), rel=0.25)


def test_a_classifier_that_says_the_same_of_all_is_refused_by_the_gate(rows):
    model = _fit(rows, "same_for_all")
    assert not model.eligible
    with pytest.raises(CalculationError, match="no account-level model"):
        model.predict(rows)


def test_explanations_add_up_to_the_log_odds(rows, model):
    predicted, why = model.predict(rows.head(20), [30]), model.explain(rows.head(20))
    total = why.groupby(["client_id", "date"])["log_odds"].sum().to_numpy() + model.base
    assert total == pytest.approx(predicted["log_odds"].to_numpy(), abs=1e-6)


def test_parts_belong_to_the_column_that_the_classifier_reads():
    """Seats used: 0.5 and 0.9 and unknown, 0.7 at the median: 3 × 0.2 more, 3 × 0.2 less, and nothing known."""
    fitted = OwnClassifier(
        LongestWaiting(), ("seat_utilisation", "nps_365d"), np.array([0.7, 20.0])
    )
    values = np.array([[0.5, 90.0], [0.9, -10.0], [np.nan, np.nan]])
    assert fitted.base == pytest.approx(-2 + 3 * 0.3)
    assert fitted.parts(values) == pytest.approx(np.array([[0.6, 0, 0], [-0.6, 0, 0], [0, 0, 0]]))
    assert fitted.contrast(values[:2], [0]) == pytest.approx(-1.2)
    assert fitted.contrast(values[:2], [1]) == 0


def test_columns_have_names_of_their_own(model):
    names = column_names(model.fitted.predictors)
    assert len(set(names)) == len(names)
    assert {"seat_utilisation", "seat_utilisation_points", "tier_SMB"} <= set(names)


def test_it_has_no_form_that_runs_code_when_it_is_read(model):
    with pytest.raises(CalculationError, match="pickle runs code"):
        model.to_json()


@pytest.mark.parametrize(
    ("name", "message"),
    [("logistc", "did you mean logistic"), ("no_probabilities", "has no fit and predict_proba")],
)
def test_a_name_that_is_no_classifier_is_refused(rows, name, message):
    with pytest.raises(InvalidParameters, match=message):
        _fit(rows, name)


def test_an_installed_package_brings_a_classifier_by_its_entry_point(tmp_path, monkeypatch):
    (tmp_path / "team_models.py").write_text(
        "from sklearn.naive_bayes import GaussianNB\n\n\ndef bayes():\n    return GaussianNB()\n"
    )
    info = tmp_path / "team_models-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: team-models\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[healthseg.models]\nteam_bayes = team_models:bayes\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert repr(create("team_bayes")) == "GaussianNB()"
    assert identity("team_bayes") == "GaussianNB() 2.1"
