"""The records in features.json, arithmetic.json, processes.json and traces.json, as typed dictionaries."""

from typing import NotRequired, TypedDict

from in4310repro.system.fingerprint import Fingerprint


class ContenderRow(TypedDict):
    """Results of one contender in one memory layout; measured fields are missing if it is not installed."""

    name: str
    needs: str  # distribution
    version: str | None  # None: not installed
    ms_per_image: NotRequired[float]  # median
    hooks_ms_per_image: NotRequired[float]  # median of the difference to the bare pass
    ratio: NotRequired[float]  # median of the ratio to the bare pass
    ratio_quartiles: NotRequired[list[float]]  # lower and upper
    repeats: NotRequired[int]  # pairs of a bare and a measured pass
    ratio_of_fastest: NotRequired[float]
    finish_ms: NotRequired[float]  # median
    peak_mb: NotRequired[float | None]  # median
    error: NotRequired[float | None]  # relative; None for counts alone


class FeatureBenchmarkSettings(TypedDict):
    """The options of a benchmark of feature statistics, as features.json holds them."""

    repeats: int
    seconds: float
    images: int
    batch_size: int
    side: int  # pixels


class FeatureBenchmark(TypedDict):
    """Content of features.json: cost and error of feature statistics, ours and those of other tools."""

    fingerprint: Fingerprint
    settings: FeatureBenchmarkSettings
    loader_ms_per_image: float
    synthetic_errors: dict[str, dict[str, float]]  # contender -> mean in standard deviations -> relative error
    memory: dict[str, float | None]  # number of images -> peak megabytes above the start
    layouts: dict[str, list[ContenderRow]]


class RatioRow(TypedDict):
    """Ratio of two times that were measured alternately, over pairs."""

    name: str
    threads: int
    ratio: float  # the median over pairs
    lowest: float
    highest: float


class PairedRow(RatioRow):
    """Times of native and portable arithmetic; the ratio is portable over native."""

    native_ms: float
    portable_ms: float


class ContenderTimes(TypedDict):
    """Times of another program beside native arithmetic; the ratio is its time over that of native."""

    ms: float  # median
    ratio: float  # the median over pairs
    lowest: float
    highest: float


class NetworkRow(PairedRow):
    """Times of a network's training step or inference; files of older versions have only one native program."""

    gflops: float  # of the convolutions and the head, in portable arithmetic
    pairs: NotRequired[int]
    memory_format: NotRequired[str]  # of native arithmetic: the faster one
    contenders: NotRequired[dict[str, ContenderTimes]]  # plain script; in inference also folded and the runtimes
    ratio_to_plain: NotRequired[float]  # portable over the plain script, the median over pairs


class LayerRow(PairedRow):
    """Times of a layer's forward pass or of one of its gradients."""

    method: str  # by which the portable kernel computes it


class Bfloat16Row(RatioRow):
    """Times of native arithmetic in float32 and with bfloat16 autocast; the ratio is bfloat16 over float32."""

    float32_ms: float
    bfloat16_ms: float


class LoopRow(TypedDict):
    """Images per second of whole trainings, and of a bare torch loop over one batch in memory."""

    batch_size: int
    native: float
    portable: float
    bare_native: float


class ArithmeticBenchmark(TypedDict):
    """Content of arithmetic.json: speed in native and portable arithmetic."""

    fingerprint: Fingerprint
    repeats: int
    gflops_per_thread: float  # the rate of fused products that one thread reaches
    runtimes: NotRequired[dict[str, str | None]]  # name -> version; None: not installed
    networks: list[NetworkRow]
    bfloat16: list[Bfloat16Row]
    layers: list[LayerRow]
    loop: list[LoopRow]


class RankRow(TypedDict):
    """Measurements by one process, made while all processes of the benchmark measure at the same time."""

    seconds: float  # of a step
    alone: float  # seconds of a step on its share of the batch, without messages
    resident_mb: float | None  # peak; None where the system does not report it


class ProcessesRun(TypedDict):
    """Measurements of processes that ran together, and the number of threads of each."""

    threads: int
    ranks: list[RankRow]


class ProcessesWorkload(TypedDict):
    """Measurements of training steps of one batch size, by different numbers of processes."""

    image_size: int  # pixels
    batch_size: int  # images
    repeats: int
    runs: list[ProcessesRun]  # first one process with one thread, then one with all cores, then several with one each


class ProcessesBenchmark(TypedDict):
    """Content of processes.json: cost of training by several processes."""

    fingerprint: Fingerprint
    cores: int
    workloads: list[ProcessesWorkload]


class TraceRow(TypedDict):
    """Times of a contender's training steps beside bare ones; missing if it is not installed."""

    name: str
    needs: str  # distribution
    version: str | None  # None: not installed
    repeats: NotRequired[int]  # pairs of a bare step and the contender's
    bare_ms: NotRequired[float]  # median
    ms: NotRequired[float]  # median
    ratio: NotRequired[float]  # median over pairs
    ratio_quartiles: NotRequired[list[float]]  # lower and upper
    ratio_of_fastest: NotRequired[float]
    processor_ratio: NotRequired[float]  # median over pairs, of the processor time of all threads


class TraceBenchmark(TypedDict):
    """Content of traces.json: cost of tracing a training step."""

    fingerprint: Fingerprint
    model: str
    image_size: int  # pixels
    batch_size: int  # images
    threads: int
    rows: list[TraceRow]
    tensors: int  # in a step of the trace
    bytes_of_each: float  # in the file, for each tensor and step
