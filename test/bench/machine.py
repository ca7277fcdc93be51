# SPDX-License-Identifier: Apache-2.0
"""machine.py - what the measurements ask of the machine: processes' time and memory, files dropped from the page
cache, a description of what was measured on. Nothing here knows a broker."""

import os
import pathlib
import platform
import statistics
import time

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """Processor seconds of all threads of a process; by nanosecond counters where the kernel has them."""
    total_ns = 0
    try:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
        return total_ns / 1e9
    except (OSError, ValueError, IndexError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def busy_s():
    """Processor seconds that anything on this machine has taken, idle and stolen time left out."""
    user, nice, system, _, _, irq, soft = map(
        int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + soft) / TICKS


def children_cpu_s():
    """Processor seconds of the processes that this one has started and waited for."""
    times = os.times()
    return times.children_user + times.children_system


def rss_kib(pid):
    """Resident memory of a process, in KiB."""
    return _status_kib(pid, "VmRSS:")


def anonymous_kib(pid):
    """Of that what is the process's own: without mapped files, whose pages are the page cache's."""
    return _status_kib(pid, "RssAnon:")


def _status_kib(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def allocated_bytes(folder):
    """What the files below a folder take of the disk."""
    return sum(
        path.stat().st_blocks * 512 for path in pathlib.Path(folder).rglob("*") if path.is_file()
    )


def drop_from_cache(files):
    """Writes files back and drops them from the page cache. Pages that somebody maps stay: drop them while nobody
    reads."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def file_system(folder):
    """The type of the file system below a folder."""
    best = ("", "unknown file system")
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, point, kind = line.split()[:3]
        if str(pathlib.Path(folder).resolve()).startswith(point) and len(point) > len(best[0]):
            best = (point, kind)
    return best[1]


def describe(folder):
    """One line on the hardware and system; it names nobody's machine."""
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    virtual = "hypervisor" in pathlib.Path("/proc/cpuinfo").read_text()
    control = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return (
        f"{os.cpu_count()} processors ({model}{', virtual' if virtual else ''}), {memory:.0f} GiB, "
        f"kernel {'.'.join(platform.release().split('.')[:2])}, {file_system(folder)}, TCP {control}"
    )


def load_average():
    return os.getloadavg()[0]


def quantile(values, fraction):
    """The value that `fraction` of all do not exceed; 0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, int(fraction * len(ordered) + 0.999999) - 1))]


def spread(values):
    """(median, least, most)."""
    return statistics.median(values), min(values), max(values)


def wait_for(condition, timeout_s, step_s=0.001):
    """Asks until it holds; False when the time is over."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(step_s)
    return True
