"""The cost of training by several processes, as Markdown: measured here, and predicted for several machines."""

from __future__ import annotations

from statistics import fmean

from benchmarks.messages import GRADIENTS, SMALL
from benchmarks.rank import MODEL
from benchmarks.records import ProcessesBenchmark, ProcessesRun, ProcessesWorkload, SharedRow
from benchmarks.step_time import Link, StepTime, Work, fit_work, message_widths, step_time
from benchmarks.workloads import CLASSES
from in4310repro import models
from in4310repro.arithmetic import tree
from in4310repro.system.text import markdown

MACHINES = (1, 2, 4, 8, 16, 32, 64)
GIGABITS = (1, 10, 100)  # of a network per second
WIRE = 5e-5  # seconds from one machine to another through a switch: assumed
LARGE = 512  # images: a leaf for each of 64 machines


def processes_table(report: ProcessesBenchmark) -> str:
    """Return the text of processes.md: measured and predicted cost of training by several processes."""
    environment = report["fingerprint"]
    lines = [
        "# Several processes: cost",
        "",
        f"On {markdown(environment['processor'])}, {report['cores']} cores, torch {environment['versions']['torch']} "
        "with gloo. ResNet-18 with SGD in the training loop, on images in memory; medians over steps, means over "
        "processes. Without messages: the processes side by side, each on its share alone. Waiting: the part of a "
        "step in which a process does nothing else. Hidden: of the time that gradients take by themselves. Memory: "
        "resident, at its highest.",
        "",
        f"{report['cores']} cores show what messages cost. They do not show what several machines gain, and with more "
        "processes than cores a process also waits for a core.",
    ]
    for workload in report["workloads"]:
        lines += ["", f"## {_title(workload)}", "", *_measured_table(workload), "", *_messages_table(workload)]
        lines += ["", *_model_table(workload, report["cores"])]
    for workload in report["workloads"]:
        lines += ["", *_forecast_table(workload)]
    return "\n".join([*lines, ""])


def _title(workload: ProcessesWorkload) -> str:
    return f"{workload['image_size']} px, {workload['batch_size']} images, {workload['repeats']} steps"


def _measured_table(workload: ProcessesWorkload) -> list[str]:
    lines = [
        "| processes | threads of each | step, ms | without messages, ms | waiting in small messages "
        "| waiting for gradients | gradients hidden | small messages | sent by each, MB | memory of each, MB |",
        f"| {' | '.join(['---'] * 10)} |",
    ]
    for run in workload["runs"]:
        seconds, shared = step_seconds(run, workload), list_shared_rows(run)
        memory = [rank["resident_mb"] for rank in run["ranks"]]
        cells = [len(memory), run["threads"], f"{1000 * seconds:.0f}"]
        if shared:
            cells.append(f"{1000 * fmean(min(rank['alone'].values()) for rank in run['ranks']):.0f}")
            small, gradients = (fmean(row["waiting"][kind] for row in shared) for kind in (SMALL, GRADIENTS))
            alone = fmean(row["alone"][GRADIENTS] for row in shared)
            cells += [f"{small / seconds:.0%}", f"{gradients / seconds:.0%}", f"{max(0.0, 1 - gradients / alone):.0%}"]
            cells += [shared[0]["messages"][SMALL], f"{max(sum(row['bytes'].values()) for row in shared) / 1e6:.1f}"]
        else:
            cells += ["-"] * 6
        cells.append(" ".join("-" if each is None else f"{each:.0f}" for each in memory))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _messages_table(workload: ProcessesWorkload) -> list[str]:
    """Return the Markdown table of a step's messages timed alone, compared with an all-gather of all gradients."""
    lines = [
        "Messages with nothing between them. To everybody: one all-gather of all gradients, which each process adds.",
        "",
        "| processes | a small message, ms | gradients, ms | gradients to everybody, ms |",
        "| --- | --- | --- | --- |",
    ]
    for run in workload["runs"]:
        if shared := list_shared_rows(run):
            cells = (1000 * fmean(row["alone"][kind] for row in shared) for kind in (SMALL, GRADIENTS, "all-gather"))
            small, gradients, everybody = cells
            lines.append(f"| {len(shared)} | {small:.2f} | {gradients:.0f} | {everybody:.0f} |")
    return lines


def _model_table(workload: ProcessesWorkload, cores: int) -> list[str]:
    """Return the Markdown table of predicted beside measured step times."""
    lines = [
        "The model, from one process and those messages alone, beside the step that was measured:",
        "",
        "| processes | work, ms | small messages, ms | gradients, ms | model, ms | measured, ms | model / measured |",
        f"| {' | '.join(['---'] * 7)} |",
    ]
    for size, model, measured in compare_with_model(workload, cores):
        parts = (model.compute, model.small, model.gradients, model.total, measured)
        lines.append(
            f"| {size} | {' | '.join(f'{1000 * each:.0f}' for each in parts)} | {model.total / measured:.2f} |"
        )
    return lines


def compare_with_model(workload: ProcessesWorkload, cores: int) -> list[tuple[int, StepTime, float]]:
    """Return (number of processes, predicted step time, measured seconds) for each run of several processes."""
    rows = []
    for run in workload["runs"]:
        if shared := list_shared_rows(run):
            size = len(shared)
            model = step_time(
                find_work(workload, 1), workload["batch_size"], size, local_link(shared), own_cores=False, cores=cores
            )
            rows.append((size, model, step_seconds(run, workload)))
    return rows


def _forecast_table(workload: ProcessesWorkload) -> list[str]:
    """Return the Markdown table of predicted step times on machines like this one, with one process each."""
    threads = max(run["threads"] for run in workload["runs"])
    machine, links = find_work(workload, threads), network_links(workload)
    slow = links[0]
    lines = [
        f"## {workload['image_size']} px on machines with {threads} cores and one process each: the model",
        "",
        f"A step of {LARGE} images, and the smallest batch of 8, 16, 32, ... images that so many machines take faster "
        f"than half of them. A small message between two takes {1000 * slow.latency:.2f} ms as here, each further "
        f"process {1000 * slow.peer:.2f} ms more (work of a process, here), and {1000 * WIRE:.2f} ms on the wire, "
        "which is assumed. Of gradients two processes here exchange "
        f"{local_link(_first_shared_rows(workload)).bandwidth * 8e-9:.1f} Gbit/s, copies and sums included, which "
        "comes on top of the time on the network.",
        "",
        f"| machines {''.join(f'| {each} Gbit/s: step, ms | speed-up | pays from ' for each in GIGABITS)}|",
        f"| {' | '.join(['---'] * (1 + 3 * len(GIGABITS)))} |",
    ]
    alone = step_time(machine, LARGE, 1, slow).total
    for size in MACHINES:
        cells = [f"{size}"]
        for link in links:
            seconds = step_time(machine, LARGE, size, link).total
            cells += [
                f"{1000 * seconds:.0f}",
                f"{alone / seconds:.1f}",
                f"{(find_paying_batch(machine, size, link) if size > 1 else None) or '-'}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def network_links(workload: ProcessesWorkload) -> list[Link]:
    """Return the predicted message speed between machines, for each network bandwidth in `GIGABITS`."""
    few, many = _first_shared_rows(workload), list_shared_rows(workload["runs"][-1])
    further = max(1, len(many) - len(few))
    more = fmean(row["cpu"][SMALL] for row in many) - fmean(row["cpu"][SMALL] for row in few)
    between_two = local_link(few)
    return [
        Link(
            latency=between_two.latency,
            peer=max(0.0, more / further),
            wire=WIRE,
            bandwidth=1 / (1 / (gigabits * 1.25e8) + 1 / between_two.bandwidth),
        )
        for gigabits in GIGABITS
    ]


def _first_shared_rows(workload: ProcessesWorkload) -> list[SharedRow]:
    return next(shared for run in workload["runs"] if (shared := list_shared_rows(run)))


def find_paying_batch(machine: Work, size: int, link: Link) -> int | None:
    """Return the smallest batch for which `size` machines are faster than half as many; None above 8,192 images."""
    for images in (tree.LEAF << power for power in range(11)):
        if step_time(machine, images, size, link).total < step_time(machine, images, size // 2, link).total:
            return images
    return None


def find_work(workload: ProcessesWorkload, threads: int) -> Work:
    """Return the measured work of a step of one process alone, with this number of threads."""
    alone = [run for run in workload["runs"] if len(run["ranks"]) == 1 and run["threads"] == threads]
    (rank,) = alone[-1]["ranks"]
    return fit_work(rank["alone"], rank["begun"], message_widths(models.build(MODEL, CLASSES, seed=0)))


def local_link(shared: list[SharedRow]) -> Link:
    """Return the speed of messages between processes on this machine, from messages timed alone."""
    latency, seconds = (fmean(row["alone"][kind] for row in shared) for kind in (SMALL, GRADIENTS))
    sent = max(row["bytes"][GRADIENTS] for row in shared)
    return Link(latency=latency, peer=0.0, wire=0.0, bandwidth=sent / seconds)


def list_shared_rows(run: ProcessesRun) -> list[SharedRow]:
    """Return the measurements of steps that the processes of a run took together; none for a single process."""
    return [rank["shared"] for rank in run["ranks"] if rank["shared"]]


def step_seconds(run: ProcessesRun, workload: ProcessesWorkload) -> float:
    """Return the measured seconds of a step of a run."""
    shared = list_shared_rows(run)
    return fmean(row["seconds"] for row in shared) if shared else run["ranks"][0]["alone"][f"{workload['batch_size']}"]
