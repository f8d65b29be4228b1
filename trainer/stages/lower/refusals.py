"""What cannot be lowered, whatever its parameters: the reason, and what to use instead.

House rules: an estimator stands here only where no graph can give its answer; what nobody has written yet does not.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from edge_agent.kernels.builder import Builder
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering

_OWN_ROWS = ("it has no predict() or transform() for new rows", "use KMeans, or fit a classifier to its clusters")
_OWN_MAP = ("it maps its training rows only", "use PCA or KernelPCA")
_SOLVES = ("its transform() solves an optimization for every row", "use PCA, TruncatedSVD or FastICA")
_TEXT = ("its input is text, which no device's model takes", "make numbers of it before the model")
_TARGETS = ("it works on targets, not on rows", "leave it out of the pipeline")
_GRAPH = ("it gives a sparse graph over its training rows", "use KNeighborsClassifier or KNeighborsRegressor")
_RADIUS = ("rows without a neighbour inside of the radius have no answer", "use the k nearest neighbours")
_LABELS = ("it gives several labels a row", "fit one classifier a label")
_COVARIANCE = ("it only fits a covariance", "use EllipticEnvelope")

# Not even another converter helps: no model of the fleet takes such input, or gives such an answer.
HOPELESS = (_OWN_ROWS, _OWN_MAP, _TEXT, _TARGETS, _GRAPH, _COVARIANCE, _LABELS)
REFUSALS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        (
            "sklearn.cluster.DBSCAN",
            "sklearn.cluster.HDBSCAN",
            "sklearn.cluster.OPTICS",
            "sklearn.cluster.AgglomerativeClustering",
            "sklearn.cluster.SpectralClustering",
            "sklearn.cluster.SpectralBiclustering",
            "sklearn.cluster.SpectralCoclustering",
        ),
        _OWN_ROWS,
    ),
    **dict.fromkeys(
        (
            "sklearn.manifold.TSNE",
            "sklearn.manifold.MDS",
            "sklearn.manifold.ClassicalMDS",
            "sklearn.manifold.SpectralEmbedding",
        ),
        _OWN_MAP,
    ),
    **dict.fromkeys(
        (
            "sklearn.decomposition.NMF",
            "sklearn.decomposition.MiniBatchNMF",
            "sklearn.decomposition.LatentDirichletAllocation",
            "sklearn.decomposition.DictionaryLearning",
            "sklearn.decomposition.MiniBatchDictionaryLearning",
            "sklearn.decomposition.SparseCoder",
        ),
        _SOLVES,
    ),
    **dict.fromkeys(
        (
            "sklearn.feature_extraction.DictVectorizer",
            "sklearn.feature_extraction.FeatureHasher",
            "sklearn.feature_extraction.text.CountVectorizer",
            "sklearn.feature_extraction.text.HashingVectorizer",
            "sklearn.feature_extraction.text.TfidfVectorizer",
        ),
        _TEXT,
    ),
    **dict.fromkeys(
        (
            "sklearn.preprocessing.LabelBinarizer",
            "sklearn.preprocessing.LabelEncoder",
            "sklearn.preprocessing.MultiLabelBinarizer",
        ),
        _TARGETS,
    ),
    **dict.fromkeys(
        (
            "sklearn.neighbors.KNeighborsTransformer",
            "sklearn.neighbors.RadiusNeighborsTransformer",
            "sklearn.neighbors.NearestNeighbors",
        ),
        _GRAPH,
    ),
    **dict.fromkeys(
        ("sklearn.neighbors.RadiusNeighborsClassifier", "sklearn.neighbors.RadiusNeighborsRegressor"), _RADIUS
    ),
    **dict.fromkeys(
        (
            "sklearn.covariance.EmpiricalCovariance",
            "sklearn.covariance.GraphicalLasso",
            "sklearn.covariance.GraphicalLassoCV",
            "sklearn.covariance.LedoitWolf",
            "sklearn.covariance.MinCovDet",
            "sklearn.covariance.OAS",
            "sklearn.covariance.ShrunkCovariance",
        ),
        _COVARIANCE,
    ),
    **dict.fromkeys(
        ("sklearn.multioutput.ClassifierChain", "sklearn.multioutput.MultiOutputClassifier"),
        _LABELS,
    ),
    "sklearn.multiclass.OutputCodeClassifier": (
        "it has labels only, no scores",
        "use OneVsRestClassifier or OneVsOneClassifier",
    ),
    "sklearn.gaussian_process.GaussianProcessClassifier": (
        "its probabilities are integrals over a latent function",
        "use SVC in CalibratedClassifierCV, or LogisticRegression after Nystroem",
    ),
    "sklearn.neighbors.KernelDensity": ("it gives densities, which are no task here", "use GaussianMixture"),
    "sklearn.manifold.Isomap": ("its transform() walks a graph over its training rows", "use KernelPCA"),
    "sklearn.manifold.LocallyLinearEmbedding": ("its transform() solves a system for every row", "use KernelPCA"),
    "sklearn.impute.KNNImputer": ("it measures distances between rows with holes", "use SimpleImputer"),
    "sklearn.feature_extraction.image.PatchExtractor": ("its input is images, not rows", "cut them before the model"),
    "sklearn.kernel_approximation.PolynomialCountSketch": (
        "it multiplies Fourier transforms",
        "use PolynomialFeatures or Nystroem",
    ),
}


def _refusing(name: str, reason: str, what_to_do: str) -> Lowering:
    def refuse(estimator: Any, b: Builder, source: int) -> NoReturn:
        del estimator, b, source
        raise CannotLower(f"{name.rpartition('.')[2]} cannot be lowered, since {reason}", what_to_do)

    return refuse


LOWERINGS: Mapping[str, Lowering] = {name: _refusing(name, *told) for name, told in REFUSALS.items()}
