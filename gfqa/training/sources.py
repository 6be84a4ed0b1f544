"""The closed table of pre-training sources: repository, pinned commit, what is taken and under which licence.

Nothing else is trained on as text. A source is either a public repository (read from a bare git directory at the pinned
commit) or a ready question set whose contexts are used as prose. `EVALUATION_ONLY` names the repositories that must never
enter: their files are also dropped when another repository carries an exact copy.
"""

from __future__ import annotations

from dataclasses import dataclass

DOC_PATTERNS = ("**/*.md",)
_CODE_ENDINGS = """
py pyi js mjs cjs ts tsx jsx vue go rs c h cc cpp hpp cu cuh java kt rb lua jq sh bash bats pl sql proto
toml yml yaml cfg ini cmake tcl css html md rst adoc txt
"""
CODE_PATTERNS = (
    *(f"**/*.{ending}" for ending in _CODE_ENDINGS.split()),
    "**/Makefile",
    "**/Dockerfile",
    "**/CMakeLists.txt",
)


@dataclass(frozen=True)
class Source:
    """One repository. `max_mb` caps the bytes taken (whole directories, chosen by hash); `min_chars` drops short pages.

    `parse` is "code" (as it is), "markdown", "plain", "tei" or "cnxml"; left empty it follows from `kind`.
    """

    repository: str
    commit: str
    kind: str
    licence: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_mb: float | None = None
    min_chars: int = 120
    parse: str = ""
    note: str = ""

    @property
    def patterns(self) -> tuple[str, ...]:
        """Git-style globs of the files taken."""
        return self.include or (CODE_PATTERNS if self.kind == "code" else DOC_PATTERNS)

    @property
    def parser(self) -> str:
        """How a file becomes text."""
        return self.parse or ("code" if self.kind == "code" else "markdown")


@dataclass(frozen=True)
class ReadySet:
    """The contexts of a question set in `<name>.jsonl.xz`, taken `repeat` times as prose."""

    name: str
    licence: str
    repeat: int = 1


READY_SETS = (
    ReadySet("squad-1.1-train", "CC-BY-SA-4.0", repeat=2),
    ReadySet("medquad", "CC-BY-4.0"),
    ReadySet("covid-qa-train", "Apache-2.0 over CORD-19 papers"),
    ReadySet("fairytaleqa-train", "Apache-2.0"),
    ReadySet("conditionalqa-train", "BSD-2-Clause, text Open Government Licence"),
)

EVALUATION_ONLY = (
    "pallets/flask",
    "pallets/click",
    "psf/requests",
    "encode/httpx",
    "pytest-dev/pytest",
    "pylint-dev/pylint",
    "sqlfluff/sqlfluff",
    "streamlink/streamlink",
    "BurntSushi/ripgrep",
    "junegunn/fzf",
    "serde-rs/serde",
    "axios/axios",
    "jhy/jsoup",
)

SOURCES = (
    Source(
        "computationalstylistics/100_english_novels",
        "143e601875d7",
        "prose",
        "public domain",
        include=("corpus/*.txt",),
        exclude=("corpus/Woolf_Years_1937.txt", "corpus/Galsworthy_River_1933.txt"),
        parse="plain",
        note="two novels still protected in the US are left out",
    ),
    Source(
        "COST-ELTeC/ELTeC-eng",
        "3db3b6738a83",
        "prose",
        "CC-BY-4.0 (README)",
        include=("level1/*.xml",),
        exclude=(
            "level1/ENG18530_Dickens.xml",
            "level1/ENG18551_Trollope.xml",
            "level1/ENG18621_Braddon.xml",
            "level1/ENG18640_Blackmore.xml",
            "level1/ENG18660_Eliot.xml",
            "level1/ENG18840_Lee.xml",
            "level1/ENG18972_Morris.xml",
            "level1/ENG19080_Chesterton.xml",
            "level1/ENG19100_Forster.xml",
            "level1/ENG19192_Woolf.xml",
            "level1/ENG19200_Lawrence.xml",
        ),
        parse="tei",
        note="texts public domain, markup CC BY; novels of the first source left out",
    ),
    Source(
        "openstax/osbooks-american-government",
        "d8ce50dc1247",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-anatomy-physiology",
        "b0058a743bdd",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-astronomy",
        "63157f370b09",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-chemistry-bundle",
        "32c719622fbb",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-college-physics-bundle",
        "f98d7a792138",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-entrepreneurship",
        "c1fa2c872ba0",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-introduction-anthropology",
        "418eedd9bef2",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-introduction-business",
        "f99a5bb2eeec",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-introduction-philosophy",
        "d7bd4f0f5205",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-introduction-political-science",
        "4391e659b98e",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-introduction-sociology",
        "d35d5f3bdac4",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-introductory-statistics-bundle",
        "50ec91749080",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-microbiology",
        "ecf34dad129d",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-principles-economics-bundle",
        "cd31beb103ff",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-psychology",
        "e061043bf2f9",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-us-history",
        "046331cfcea0",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source(
        "openstax/osbooks-world-history",
        "3e17beda9130",
        "prose",
        "CC-BY-4.0",
        include=("collections/*.collection.xml", "modules/*/index.cnxml"),
        parse="cnxml",
        note="last commit under CC BY",
    ),
    Source("MicrosoftDocs/cpp-docs", "a2e592a8fc39", "docs", "CC-BY-4.0", include=("docs/**/*.md",)),
    Source(
        "MicrosoftDocs/PowerShell-Docs",
        "27138b21b41d",
        "docs",
        "CC-BY-4.0",
        include=("reference/7.5/**/*.md", "reference/docs-conceptual/**/*.md"),
        note="one of five near-equal versions",
    ),
    Source("MicrosoftDocs/windows-driver-docs", "825aa15f476f", "docs", "CC-BY-4.0", max_mb=30, min_chars=1200),
    Source(
        "MicrosoftDocs/win32", "47e64c189dcb", "docs", "CC-BY-4.0", exclude=("**/c-*.md",), max_mb=45, min_chars=2500
    ),
    Source(
        "MicrosoftDocs/VBA-Docs",
        "b2cda886ea91",
        "docs",
        "CC-BY-4.0",
        exclude=("api/TOC.md",),
        max_mb=10,
        min_chars=1500,
    ),
    Source("MicrosoftDocs/WSL", "8842def77a85", "docs", "CC-BY-4.0"),
    Source("MicrosoftDocs/iis-docs", "63b689f03dea", "docs", "CC-BY-4.0"),
    Source("MicrosoftDocs/well-architected", "1353bbb66e53", "docs", "CC-BY-4.0"),
    Source("MicrosoftDocs/terminal", "c341a6362f9f", "docs", "CC-BY-4.0"),
    Source(
        "awsdocs/amazon-sagemaker-developer-guide",
        "a869fa5c9bd1",
        "docs",
        "CC-BY-SA-4.0",
        include=("doc_source/**/*.md",),
    ),
    Source(
        "awsdocs/amazon-redshift-developer-guide",
        "7fb360453b8c",
        "docs",
        "CC-BY-SA-4.0",
        include=("doc_source/**/*.md",),
    ),
    Source(
        "awsdocs/aws-systems-manager-user-guide",
        "dd495cca5833",
        "docs",
        "CC-BY-SA-4.0",
        include=("doc_source/**/*.md",),
    ),
    Source("awsdocs/amazon-rds-user-guide", "f2e9ed35fba2", "docs", "CC-BY-SA-4.0", include=("doc_source/**/*.md",)),
    Source(
        "awsdocs/aws-lambda-developer-guide", "03f7fcb0b771", "docs", "CC-BY-SA-4.0", include=("doc_source/**/*.md",)
    ),
    Source("awsdocs/amazon-ec2-user-guide", "e3707c431483", "docs", "CC-BY-SA-4.0", include=("doc_source/**/*.md",)),
    Source(
        "awsdocs/amazon-dynamodb-developer-guide",
        "822948021fcd",
        "docs",
        "CC-BY-SA-4.0",
        include=("doc_source/**/*.md",),
    ),
    Source(
        "awsdocs/amazon-ecs-developer-guide", "49232cf2ab3b", "docs", "CC-BY-SA-4.0", include=("doc_source/**/*.md",)
    ),
    Source("awsdocs/aws-iot-docs", "e85a0340d14a", "docs", "CC-BY-SA-4.0", include=("doc_source/**/*.md",)),
    Source("awsdocs/amazon-aurora-user-guide", "7a931b460fab", "docs", "CC-BY-SA-4.0", include=("doc_source/**/*.md",)),
    Source("awsdocs/amazon-s3-userguide", "cc53dd6a44d3", "docs", "CC-BY-SA-4.0", include=("doc_source/**/*.md",)),
    Source(
        "awsdocs/amazon-cloudwatch-user-guide", "cc40332fd9cd", "docs", "CC-BY-SA-4.0", include=("doc_source/**/*.md",)
    ),
    Source("awsdocs/amazon-athena-user-guide", "765e909ebcf8", "docs", "CC-BY-SA-4.0", include=("doc_source/**/*.md",)),
    Source(
        "awsdocs/aws-cloudformation-user-guide",
        "19dc52cd3f20",
        "docs",
        "CC-BY-SA-4.0",
        include=("doc_source/**/*.md",),
        exclude=("doc_source/ReleaseHistory.md", "doc_source/index.md"),
        max_mb=15,
    ),
    Source("awsdocs/amazon-eks-user-guide", "4d52b4d05e34", "docs", "CC-BY-SA-4.0", include=("**/*.adoc",)),
    Source(
        "awsdocs/iam-user-guide",
        "e2b8637a825b",
        "docs",
        "MIT",
        include=("doc_source/**/*.md",),
        note="modified MIT for the whole repository",
    ),
    Source("awsdocs/aws-config-developer-guide", "572f3077b849", "docs", "Apache-2.0", include=("doc_source/**/*.md",)),
    Source(
        "python/peps",
        "ba4deeb79695",
        "docs",
        "public domain",
        include=("peps/pep-*.rst",),
        parse="plain",
        note="public domain or CC0, said in each file",
    ),
    Source("rust-lang/rfcs", "354518a8c902", "docs", "MIT OR Apache-2.0"),
    Source("rust-lang/reference", "3b38834b39f7", "docs", "MIT OR Apache-2.0"),
    Source(
        "rust-lang/book",
        "917544888a55",
        "docs",
        "MIT OR Apache-2.0",
        exclude=("nostarch/**", "redirects/**", "**/tmp/**"),
    ),
    Source("rust-lang/rust-by-example", "898f0ac14792", "docs", "MIT OR Apache-2.0"),
    Source("rust-lang/rustc-dev-guide", "2cbf04342b46", "docs", "MIT OR Apache-2.0"),
    Source("swiftlang/swift-evolution", "0105e139a229", "docs", "Apache-2.0"),
    Source("ethereum/EIPs", "f767a1e8078e", "docs", "CC0-1.0"),
    Source("kubernetes/enhancements", "64765b4b0238", "docs", "Apache-2.0"),
    Source("OWASP/CheatSheetSeries", "6b8819da79e0", "docs", "CC-BY-SA-4.0"),
    Source("18F/handbook", "1e4955634d03", "docs", "public domain", note="work of the US government, CC0 elsewhere"),
    Source("prometheus/docs", "c105550aad07", "docs", "Apache-2.0"),
    Source("tensorflow/docs", "7c3650212740", "docs", "Apache-2.0"),
    Source("open-telemetry/opentelemetry-specification", "1377f53b2bc0", "docs", "Apache-2.0"),
    Source(
        "helm/helm-www", "227f41447a68", "docs", "MIT", include=("docs/**/*.md", "content/en/**/*.md", "blog/**/*.md")
    ),
    Source("golang/proposal", "f6e2e6b7f89c", "docs", "BSD"),
    Source("alphagov/govuk-design-system", "efb0d77d38b7", "docs", "MIT"),
    Source("redis/redis", "d2c8a4b91e8c", "code", "BSD", exclude=("deps/**",), note="tag 7.2.4, the last under BSD"),
    Source("huggingface/huggingface_hub", "ee0a4510f4bc", "code", "Apache-2.0"),
    Source("zylon-ai/private-gpt", "ab89a0d67bf6", "code", "Apache-2.0"),
    Source("neuml/txtai", "20f818f72cac", "code", "Apache-2.0"),
    Source("Aider-AI/aider", "5dc9490bb35f", "code", "Apache-2.0"),
    Source("state-spaces/mamba", "e9594ce1c732", "code", "Apache-2.0"),
    Source("simonw/llm", "f3f4f29c6e5e", "code", "Apache-2.0"),
    Source("Cinnamon/kotaemon", "4015bb0f7ceb", "code", "Apache-2.0"),
    Source(
        "Future-House/paper-qa",
        "d2c3c698fdf0",
        "code",
        "Apache-2.0",
        exclude=("tests/cassettes/**", "tests/stub_data/**"),
    ),
    Source("BlinkDL/RWKV-LM", "524481d5099b", "code", "Apache-2.0"),
    Source("safetensors/safetensors", "1b0fe9c6acf3", "code", "Apache-2.0"),
    Source("apache/commons-lang", "d15939ef46f0", "code", "Apache-2.0"),
    Source("apache/commons-io", "d83aeb6f4774", "code", "Apache-2.0"),
    Source("apache/commons-collections", "cf36204c913a", "code", "Apache-2.0"),
    Source("apache/commons-text", "5a23e1005664", "code", "Apache-2.0"),
    Source("apache/commons-csv", "d9b9f062b84e", "code", "Apache-2.0"),
    Source("google/gson", "9835b6f90192", "code", "Apache-2.0"),
    Source("spf13/cobra", "adbc8813901b", "code", "Apache-2.0"),
    Source("spf13/afero", "993a85a53c41", "code", "Apache-2.0"),
    Source("aio-libs/aiohttp", "495e778360d1", "code", "Apache-2.0"),
    Source("tornadoweb/tornado", "e530031405e2", "code", "Apache-2.0"),
    Source("caddyserver/caddy", "0cf03d32f7d9", "code", "Apache-2.0"),
    Source("square/retrofit", "0b118105fe84", "code", "Apache-2.0"),
    Source("prometheus/prometheus", "d15adb9ad7e5", "code", "Apache-2.0"),
    Source("ollama/ollama", "fb3076099687", "code", "MIT"),
    Source("fla-org/flash-linear-attention", "bc3b101dcb71", "code", "MIT"),
    Source("Textualize/rich", "42899d8a0a96", "code", "MIT"),
    Source("ml-explore/mlx-lm", "d78bf58e217c", "code", "MIT"),
    Source("karpathy/nanochat", "92d63d4e8bb4", "code", "MIT"),
    Source(
        "yamadashy/repomix",
        "ffe1f0cf19ae",
        "code",
        "MIT",
        exclude=("website/client/src/[!e]*/**", "website/client/src/e[!n]*/**"),
    ),
    Source("mufeedvh/code2prompt", "ab4fa06f6fdb", "code", "MIT"),
    Source("HazyResearch/ThunderKittens", "0b55588d2769", "code", "MIT"),
    Source("bats-core/bats-core", "d22e41faad59", "code", "MIT"),
    Source("expressjs/express", "a3714473feb3", "code", "MIT"),
    Source("vuejs/core", "e2bede96134f", "code", "MIT"),
    Source("colinhacks/zod", "e516c3baf226", "code", "MIT"),
    Source("spf13/viper", "528f7416c4b5", "code", "MIT"),
    Source("gin-gonic/gin", "dcaa4296d111", "code", "MIT"),
    Source("tokio-rs/tokio", "ea91b33ca57f", "code", "MIT"),
    Source("tokio-rs/axum", "3d78036dcac2", "code", "MIT"),
    Source("jqlang/jq", "579e6f76cffd", "code", "MIT"),
    Source("libuv/libuv", "6179e7af8741", "code", "MIT"),
    Source("fmtlib/fmt", "60ccad511fd6", "code", "MIT"),
    Source("gabime/spdlog", "62302019babd", "code", "MIT"),
    Source("psf/black", "8947c48ef207", "code", "MIT", exclude=("profiling/**",)),
    Source("python-attrs/attrs", "c1dc5dcba16e", "code", "MIT"),
    Source("tiangolo/fastapi", "6d9dc39fcb3e", "code", "MIT", exclude=("docs/[!e]*/**", "docs/e[!n]*/**")),
    Source("sqlalchemy/alembic", "20e58db01cad", "code", "MIT"),
    Source("preactjs/preact", "f6c6cda581e1", "code", "MIT"),
    Source("koajs/koa", "e0ba8ef39d27", "code", "MIT"),
    Source(
        "nlohmann/json", "199dea11b17c", "code", "MIT", exclude=("single_include/**", "docs/mkdocs/docs/examples/**")
    ),
    Source("mockito/mockito", "ee8a330da021", "code", "MIT"),
    Source("sinatra/sinatra", "cb22afd7902b", "code", "MIT"),
    Source("jquery/jquery", "51eb576cca6f", "code", "MIT"),
    Source("nodejs/node-addon-api", "25f7ba086426", "code", "MIT"),
    Source("sigoden/aichat", "82976d349ad9", "code", "MIT OR Apache-2.0"),
    Source("rust-lang/regex", "2b527599eb9e", "code", "MIT OR Apache-2.0"),
    Source("clap-rs/clap", "6982fb1c98c7", "code", "MIT OR Apache-2.0"),
    Source("sharkdp/bat", "2ba8db9c14e5", "code", "MIT OR Apache-2.0"),
    Source("sharkdp/fd", "ee20f426ddf3", "code", "MIT OR Apache-2.0"),
    Source("rust-lang/cargo", "af373f761aa4", "code", "MIT OR Apache-2.0"),
    Source("restic/restic", "a80be1478a4c", "code", "BSD"),
    Source("borgbackup/borg", "fc74d5f643d1", "code", "BSD"),
    Source("py-pdf/pypdf", "f6853ccd3ff4", "code", "BSD"),
    Source("pallets/werkzeug", "1b00618e787f", "code", "BSD"),
    Source("pallets/jinja", "5ef70112a1ff", "code", "BSD"),
    Source("networkx/networkx", "cfc6b79fc53f", "code", "BSD", exclude=("**/atlas.dat*",)),
    Source("encode/starlette", "cb8f84f5284d", "code", "BSD"),
    Source("encode/uvicorn", "e6c7ce791fc6", "code", "BSD"),
    Source("scrapy/scrapy", "11079cb1c85b", "code", "BSD"),
    Source("celery/celery", "5dc781f0bd5f", "code", "BSD"),
    Source("httpie/cli", "5b604c37c6c6", "code", "BSD"),
    Source("nginx/nginx", "3f6f7824d4e2", "code", "BSD"),
    Source("facebook/zstd", "2dddf0905619", "code", "BSD"),
    Source("google/googletest", "7260682388d4", "code", "BSD"),
    Source("curl/curl", "5c61e168698a", "code", "curl", exclude=("tests/data/**",)),
    Source("lua/lua", "53b41d0cddd8", "code", "MIT (lua.h)"),
)
