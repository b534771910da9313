"""Disks of the run's own: an ext4 file system in a file, which can lose its power or run full.

The power cut is EXT4_IOC_SHUTDOWN without a flush of the journal: whatever was not synced is gone once the file system is mounted again. Mount points lie in the run's
workspace, whose name says which run it belongs to.
"""
import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time

from network import PREFIX, belongs_to_the_dead, run_name

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, u32)
NO_LOG_FLUSH = struct.pack("I", 2)
FILLER = "filler"
CHUNK_BYTES = 1 << 20
UNMOUNT_S = 10


def command(*words):
    done = subprocess.run([str(word) for word in words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


def until_it_works(action, seconds):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def workspace_path():
    """A directory whose name says which run made it."""
    path = pathlib.Path(tempfile.gettempdir()) / run_name()
    path.mkdir()
    return path


def remove_leftovers():
    """File systems and directories of runs that were killed; gives their paths. Kept histories lie elsewhere."""
    left = [path for path in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}-*") if belongs_to_the_dead(path.name)]
    for path in left:
        for mounted in mounts_below(path):
            command("umount", "--lazy", mounted)
        shutil.rmtree(path, ignore_errors=True)
    return left


def mounts_below(path):
    """Mount points below a directory, the innermost first."""
    points = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{path}/")), reverse=True)


def why_not(path):
    """Why no such disk can be had here; None where one can."""
    if os.geteuid() != 0:
        return "mounting a file system takes root"
    if not shutil.which("mkfs.ext4"):
        return "no mkfs.ext4"
    try:
        with Disk(path / "probe", megabytes=16) as disk:
            disk.cut_power()
            disk.unmount()
            disk.restore_power()
    except OSError as error:
        return f"no ext4 can be mounted and shut down here: {error}"
    return None


class Disk:
    def __init__(self, path, megabytes):
        self.path, self.image = path, path.with_suffix(".ext4")
        path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(megabytes << 20)
        command("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        self.restore_power()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def restore_power(self):
        command("mount", "-t", "ext4", "-o", "loop", self.image, self.path)

    def cut_power(self):
        """Everything that was not synced is lost. Processes on this disk get errors; kill them, then call `unmount` and `restore_power`."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def unmount(self):
        """Once nobody has a file open on it any more, which a process that was killed may take a moment to be done with, and until its loop device is gone: every `ip` that
        enters a namespace, of another run on this machine too, holds a copy of all mounts while it works, and what is mounted again meanwhile is still without power."""
        until_it_works(lambda: command("umount", self.path), UNMOUNT_S)
        until_it_works(self.expect_detached, UNMOUNT_S)

    def expect_detached(self):
        for backing in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(FileNotFoundError):
                if backing.read_text().strip() == str(self.image):
                    raise OSError(f"{backing.parts[3]} still holds {self.image}")

    def fill(self):
        """Leaves no room."""
        with open(self.path / FILLER, "wb") as filler:
            size, step = 0, CHUNK_BYTES
            while step >= 4096:
                try:
                    os.posix_fallocate(filler.fileno(), size, step)
                    size += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2

    def free(self):
        (self.path / FILLER).unlink(missing_ok=True)

    def remove(self):
        if os.path.ismount(self.path):
            command("umount", "--lazy", self.path)
        self.image.unlink(missing_ok=True)
