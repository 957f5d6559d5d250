//! A library to preload that records what a process changes in one directory, and what it syncs.
//!
//! ```text
//! LD_PRELOAD=target/release/examples/librecorder.so \
//!   LACEWING_POWERLOSS_DIRECTORY=/var/lib/state LACEWING_POWERLOSS_RECORD=/tmp/record lacewing up
//! ```
//!
//! Each function here stands before the one of the same name of the C library. It does the system
//! call, and appends an entry to the record. The lock makes the order of the entries that of the
//! calls. A sync notes how long the record was before the sync began.
//!
//! A program that makes system calls itself, or maps a file to write to it, is not seen. The replay
//! shows whether the recorder saw all: with `Loss::Nothing` it gives the directory as it is.
//!
//! Linux with glibc, on architectures that pass variadic arguments of integers as others: x86-64
//! and AArch64.

// The functions are those of the C library, whose callers give valid pointers, as for the calls
// that they stand for. The pointers are handed on to the system, and read only after a call that
// had the system read the same bytes.
#![allow(unsafe_code, missing_docs, clippy::missing_safety_doc)]

use std::{
    ffi::{CStr, CString, OsStr},
    mem::MaybeUninit,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use lacewing_powerloss::{DIRECTORY, RECORD, Record};
use libc::{
    AT_FDCWD, AT_REMOVEDIR, O_CREAT, O_TRUNC, S_IFDIR, S_IFMT, S_IFREG, SEEK_CUR, c_char, c_int,
    c_long, c_uint, c_void, iovec, mode_t, off_t, size_t, ssize_t, syscall,
};

/// The directory, and the record of it.
struct Recorder {
    directory: PathBuf,
    /// The record, and its length.
    record: Mutex<(c_int, u64)>,
}

/// `None`: nothing is to be recorded.
fn recorder() -> Option<&'static Recorder> {
    static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();
    let open = || {
        let directory = PathBuf::from(std::env::var_os(DIRECTORY)?);
        let record = CString::new(std::env::var_os(RECORD)?.into_vec()).ok()?;
        let flags = libc::O_WRONLY | O_CREAT | O_TRUNC | libc::O_APPEND | libc::O_CLOEXEC;
        let file = unsafe { syscall(libc::SYS_openat, AT_FDCWD, record.as_ptr(), flags, 0o600) };
        let file = c_int::try_from(file).ok().filter(|file| *file >= 0)?;
        Some(Recorder { directory, record: Mutex::new((file, 0)) })
    };
    RECORDER.get_or_init(open).as_ref()
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, (c_int, u64)> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, record: &mut (c_int, u64), entry: &Record<'_>) {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        let mut left = &bytes[..];
        while !left.is_empty() {
            let done = unsafe { syscall(libc::SYS_write, record.0, left.as_ptr(), left.len()) };
            match usize::try_from(done) {
                Ok(done) => left = &left[done..],
                // A record with a hole would show a loss that is none.
                Err(_) => std::process::abort(),
            }
        }
        record.1 += bytes.len() as u64;
    }

    /// The path that a call names, from the root.
    fn path(&self, folder: c_int, path: *const c_char) -> Option<Vec<u8>> {
        let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
        let from = match folder {
            AT_FDCWD => std::env::current_dir().ok()?,
            folder => std::fs::read_link(format!("/proc/self/fd/{folder}")).ok()?,
        };
        let path = from.join(path);
        path.starts_with(&self.directory).then(|| path.into_os_string().into_vec())
    }

    /// The inode of a file or folder of the directory.
    fn inode(&self, file: c_int) -> Option<u64> {
        let stat = stat(file)?;
        if ![S_IFREG, S_IFDIR].contains(&(stat.st_mode & S_IFMT)) {
            return None;
        }
        let path = std::fs::read_link(format!("/proc/self/fd/{file}")).ok()?;
        path.starts_with(&self.directory).then_some(stat.st_ino)
    }
}

fn stat(file: c_int) -> Option<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    let done = unsafe { libc::fstat(file, stat.as_mut_ptr()) };
    // Zero: the system has filled all of it.
    (done == 0).then(|| unsafe { stat.assume_init() })
}

/// What the system gives for a call: the C library's result and `errno` are set by `syscall`.
fn int(result: c_long) -> c_int {
    c_int::try_from(result).unwrap_or(-1)
}

fn size(result: c_long) -> ssize_t {
    ssize_t::try_from(result).unwrap_or(-1)
}

/// Opens a file, and notes that it was made or emptied.
unsafe fn opened(folder: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let open = || int(unsafe { syscall(libc::SYS_openat, folder, path, flags, mode) });
    if flags & (O_CREAT | O_TRUNC) == 0 {
        return open();
    }
    let Some(recorder) = recorder() else { return open() };
    let Some(name) = recorder.path(folder, path) else { return open() };
    let mut record = recorder.lock();
    let was_there = std::fs::symlink_metadata(OsStr::from_bytes(&name)).is_ok();
    let file = open();
    if let Some(stat) = stat(file).filter(|_| file >= 0) {
        let inode = stat.st_ino;
        if !was_there {
            recorder.note(&mut record, &Record::File { inode, path: &name });
        } else if flags & O_TRUNC != 0 {
            recorder.note(&mut record, &Record::Resize { inode, bytes: 0 });
        }
    }
    file
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    unsafe { opened(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    unsafe { opened(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: c_uint,
) -> c_int {
    unsafe { opened(folder, path, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat64(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: c_uint,
) -> c_int {
    unsafe { opened(folder, path, flags, mode) }
}

/// Notes a write at a place that `offset` tells before the write.
unsafe fn written(
    file: c_int,
    offset: impl FnOnce(&libc::stat) -> u64,
    bytes: impl FnOnce(usize) -> Vec<u8>,
    write: impl FnOnce() -> ssize_t,
) -> ssize_t {
    let is_file = |stat: &libc::stat| stat.st_mode & S_IFMT == S_IFREG;
    // Sockets, pipes and terminals first: nothing is looked up for them.
    let Some(stat) = stat(file).filter(is_file) else { return write() };
    let Some((recorder, inode)) = recorder().and_then(|one| Some((one, one.inode(file)?))) else {
        return write();
    };
    let mut record = recorder.lock();
    let offset = offset(&stat);
    let done = write();
    if let Ok(count @ 1..) = usize::try_from(done) {
        recorder.note(&mut record, &Record::Write { inode, offset, bytes: &bytes(count) });
    }
    done
}

/// The place of a file's next write.
fn position(file: c_int, stat: &libc::stat) -> u64 {
    let flags = unsafe { libc::fcntl(file, libc::F_GETFL) };
    if flags & libc::O_APPEND != 0 {
        return u64::try_from(stat.st_size).unwrap_or(0);
    }
    u64::try_from(unsafe { libc::lseek(file, 0, SEEK_CUR) }).unwrap_or(0)
}

unsafe fn copied(bytes: *const c_void, count: usize) -> Vec<u8> {
    unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count) }.to_vec()
}

/// The first `count` bytes of some buffers.
unsafe fn gathered(parts: *const iovec, number: c_int, count: usize) -> Vec<u8> {
    let number = usize::try_from(number).unwrap_or(0);
    let parts = unsafe { std::slice::from_raw_parts(parts, number) };
    let mut bytes = Vec::with_capacity(count);
    for part in parts {
        let left = part.iov_len.min(count - bytes.len());
        bytes.extend(unsafe { copied(part.iov_base, left) });
    }
    bytes
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(file: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    let write = || size(unsafe { syscall(libc::SYS_write, file, bytes, count) });
    unsafe { written(file, |stat| position(file, stat), |done| copied(bytes, done), write) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(file: c_int, parts: *const iovec, number: c_int) -> ssize_t {
    let write = || size(unsafe { syscall(libc::SYS_writev, file, parts, number) });
    unsafe {
        written(file, |stat| position(file, stat), |done| gathered(parts, number, done), write)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(
    file: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    let write = || size(unsafe { syscall(libc::SYS_pwrite64, file, bytes, count, offset) });
    let at = |_: &libc::stat| u64::try_from(offset).unwrap_or(0);
    unsafe { written(file, at, |done| copied(bytes, done), write) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    file: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    unsafe { pwrite(file, bytes, count, offset) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate(file: c_int, length: off_t) -> c_int {
    let resize = || int(unsafe { syscall(libc::SYS_ftruncate, file, length) });
    let Some((recorder, inode)) = recorder().and_then(|one| Some((one, one.inode(file)?))) else {
        return resize();
    };
    let mut record = recorder.lock();
    let done = resize();
    if done == 0 {
        let bytes = u64::try_from(length).unwrap_or(0);
        recorder.note(&mut record, &Record::Resize { inode, bytes });
    }
    done
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(file: c_int, length: off_t) -> c_int {
    unsafe { ftruncate(file, length) }
}

/// Syncs, with the lock open meanwhile: others write while a disk syncs.
unsafe fn synced(call: c_long, file: c_int) -> c_int {
    let sync = || int(unsafe { syscall(call, file) });
    let Some((recorder, inode)) = recorder().and_then(|one| Some((one, one.inode(file)?))) else {
        return sync();
    };
    let begun = recorder.lock().1;
    let done = sync();
    if done == 0 {
        recorder.note(&mut recorder.lock(), &Record::Sync { inode, begun });
    }
    done
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(file: c_int) -> c_int {
    unsafe { synced(libc::SYS_fsync, file) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    unsafe { synced(libc::SYS_fdatasync, file) }
}

/// Does a call that changes names, and notes it if it succeeds.
fn named(call: impl FnOnce() -> c_int, note: impl FnOnce(&Recorder, &mut (c_int, u64))) -> c_int {
    let Some(recorder) = recorder() else { return call() };
    let mut record = recorder.lock();
    let done = call();
    if done == 0 {
        note(recorder, &mut record);
    }
    done
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdirat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
    let call = || int(unsafe { syscall(libc::SYS_mkdirat, folder, path, mode) });
    named(call, |recorder, record| {
        let Some(name) = recorder.path(folder, path) else { return };
        let meta = std::fs::symlink_metadata(OsStr::from_bytes(&name));
        if let Ok(meta) = meta {
            let inode = std::os::unix::fs::MetadataExt::ino(&meta);
            recorder.note(record, &Record::Folder { inode, path: &name });
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    unsafe { mkdirat(AT_FDCWD, path, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    let call = || int(unsafe { syscall(libc::SYS_unlinkat, folder, path, flags) });
    named(call, |recorder, record| {
        if let Some(path) = recorder.path(folder, path) {
            recorder.note(record, &Record::Remove { path: &path });
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    unsafe { unlinkat(AT_FDCWD, path, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    unsafe { unlinkat(AT_FDCWD, path, AT_REMOVEDIR) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat2(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    let call =
        || int(unsafe { syscall(libc::SYS_renameat2, from_folder, from, to_folder, to, flags) });
    named(call, |recorder, record| {
        let names = (recorder.path(from_folder, from), recorder.path(to_folder, to));
        if let (Some(from), Some(to)) = names {
            recorder.note(record, &Record::Rename { from: &from, to: &to });
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
) -> c_int {
    unsafe { renameat2(from_folder, from, to_folder, to, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    unsafe { renameat2(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkat(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    let call =
        || int(unsafe { syscall(libc::SYS_linkat, from_folder, from, to_folder, to, flags) });
    named(call, |recorder, record| {
        let names = (recorder.path(from_folder, from), recorder.path(to_folder, to));
        if let (Some(from), Some(to)) = names {
            recorder.note(record, &Record::Link { from: &from, to: &to });
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    unsafe { linkat(AT_FDCWD, from, AT_FDCWD, to, 0) }
}
