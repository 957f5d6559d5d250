//! The files that are opened, with the kernel's help and without it, and those that change while
//! they are read.

use std::{
    fs,
    io::Write,
    os::unix::{fs::symlink, net::UnixListener},
};

use rustix::fs::{FileType, mknodat};

use super::*;

/// A folder of an app beside one of another tenant.
struct Folders(tempfile::TempDir);

impl Folders {
    fn new() -> Folders {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders(dir);
        for (name, text) in [("app/sub/x", "mine"), ("other/x", "another's")] {
            fs::create_dir_all(folders.path(name).parent().unwrap()).unwrap();
            fs::write(folders.path(name), text).unwrap();
        }
        folders
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The bytes or the error of a path of the app's. Both ways have to agree.
    fn read(&self, path: &str) -> String {
        let app = self.path("app");
        let Some(located) = Located::below(&app, &app.join(path)) else {
            return OpenError::Outside.to_string();
        };
        let text = |opened: Result<OpenedFile, OpenError>| {
            let bytes = opened.and_then(|opened| opened.read(1000));
            bytes.map_or_else(|error| error.to_string(), |bytes| String::from_utf8(bytes).unwrap())
        };
        let walked = located.below.as_ref().unwrap().walk().and_then(OpenedFile::of);
        let (kernels, walked) = (text(located.open()), text(walked));
        assert_eq!(kernels, walked, "{path}");
        kernels
    }

    fn pipe(&self, name: &str) {
        mknodat(CWD, self.path(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
}

const SPECIAL: &str = "it is a device, pipe or socket, and not a regular file";

#[test]
fn a_path_is_below_a_folder_by_its_words() {
    let rest = |folder: &str, path: &str| {
        let located = Located::below(Path::new(folder), Path::new(path))?;
        Some(located.below.unwrap().rest.display().to_string())
    };
    for (folder, path, expected) in [
        ("/t/app", "/t/app/x", Some("x")),
        ("/t/app", "/t/app/./a//x", Some("a/x")),
        ("/t/app", "/t/app/a/../x", Some("x")),
        ("/t/app", "/t/app/../app/x", Some("x")),
        ("/t/app", "/t/app/../../../../t/app/x", Some("x")),
        ("/t/./app", "/t/app/x", Some("x")),
        ("/t/z/../app", "/t/z/../app/x", Some("x")),
        ("/", "/../x", Some("x")),
        ("", "x", Some("x")),
        ("a", "a/x", Some("x")),
        ("../a", "../a/x", Some("x")),
        ("/t/app", "/t/app/../x", None),
        ("/t/app", "/t/app/a/../../x", None),
        ("/t/app", "/t/app/../application/x", None),
        ("/t/app", "/t/application/x", None),
        ("/t/app", "/etc/passwd", None),
        ("/t/app", "x", None),
        ("", "../x", None),
        ("", "a/../../x", None),
        ("", "/x", None),
        ("..", "../../x", None),
    ] {
        assert_eq!(rest(folder, path).as_deref(), expected, "{path} below {folder}");
    }
}

#[test]
fn a_link_is_followed_within_its_folder_and_never_out_of_it() {
    let folders = Folders::new();
    let outside = OpenError::Outside.to_string();
    for (link, target) in [
        ("app/inside", "sub/x"),
        ("app/sub/up", "../sub/x"),
        ("app/dir", "sub"),
        ("app/leads-out", "../other/x"),
        ("app/dir-out", "../other"),
        ("app/chain", "dir/../leads-out"),
        ("app/root", "/proc/self/root"),
        ("app/circle", "circle"),
        ("app/kmsg", "/proc/kmsg"),
    ] {
        symlink(target, folders.path(link)).unwrap();
    }
    for path in ["sub/x", "inside", "sub/up", "dir/x", "dir/up", "a/../sub/x", "dir-out/../sub/x"] {
        assert_eq!(folders.read(path), "mine", "{path}");
    }
    let paths = ["leads-out", "dir-out/x", "chain", "../other/x", "dir/../../other/x", "kmsg"];
    for path in paths {
        assert_eq!(folders.read(path), outside, "{path}");
    }
    assert!(Located::below(&folders.path("app"), &folders.path("app/root/etc/passwd")).is_some());
    assert_eq!(folders.read("root/etc/passwd"), outside);
    let circle = Located::below(&folders.path("app"), &folders.path("app/circle")).unwrap();
    assert!(circle.open().is_err() && circle.below.unwrap().walk().is_err());
}

/// The operator may have a link where the app's folder is: a new release is put there by changing
/// the link.
#[test]
fn the_folder_itself_may_be_a_link() {
    let folders = Folders::new();
    symlink("app", folders.path("current")).unwrap();
    let (current, file) = (folders.path("current"), folders.path("current/sub/x"));
    let located = Located::below(&current, &file).unwrap();
    assert_eq!(located.open().unwrap().read(9).unwrap(), b"mine");
    assert_eq!(
        OpenedFile::of(located.below.unwrap().walk().unwrap()).unwrap().read(9).unwrap(),
        b"mine"
    );
}

/// None of them has a writer, or an end: a thread that waited for one would never come back.
#[test]
fn a_file_that_is_not_regular_is_refused_at_once() {
    let folders = Folders::new();
    folders.pipe("app/pipe");
    let _socket = UnixListener::bind(folders.path("app/socket")).unwrap();
    assert_eq!(folders.read("pipe"), SPECIAL);
    assert_eq!(folders.read("socket"), SPECIAL);
    assert_eq!(folders.read("sub"), "it is a directory, and not a regular file");
    assert_eq!(folders.read("."), "it is a directory, and not a regular file");
    for device in ["/dev/zero", "/dev/null", "/dev/urandom", "/dev/tty"] {
        let error = Located::anywhere(device).open().unwrap_err();
        // There need not be a terminal.
        assert!(device == "/dev/tty" || error.to_string() == SPECIAL, "{device}: {error}");
    }
}

/// They say that they are regular, and empty.
#[cfg(target_os = "linux")]
#[test]
fn files_that_are_made_while_they_are_read_are_refused() {
    for path in ["/proc/self/status", "/proc/kmsg", "/proc/self/mem"] {
        // Not every user may open each of them.
        let read = Located::anywhere(path).open().and_then(|opened| opened.read(1 << 20));
        assert!(read.is_err(), "{path}");
    }
}

/// A name leads to a pipe in one moment and to a file in the next: what was opened is what is
/// looked at.
#[test]
fn a_pipe_that_is_swapped_in_keeps_no_thread() {
    let folders = Folders::new();
    folders.pipe("pipe");
    let (name, spare) = (folders.path("app/sub/x"), folders.path("app/sub/y"));
    let located = Located::below(&folders.path("app"), &name).unwrap();
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            for _ in 0..200 {
                fs::rename(&name, &spare).unwrap();
                fs::hard_link(folders.path("pipe"), &name).unwrap();
                fs::rename(&spare, &name).unwrap();
            }
        });
        let mut read = 0;
        while !swapping.is_finished() || read == 0 {
            match located.open().and_then(|opened| opened.read(1000)) {
                Ok(bytes) => {
                    assert_eq!(bytes, b"mine");
                    read += 1;
                }
                Err(OpenError::Special | OpenError::Io(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
}

#[test]
fn a_file_is_as_large_as_it_says_and_no_larger_than_it_may_be() {
    let folders = Folders::new();
    let path = folders.path("app/sub/x");
    let open = || Located::anywhere(&path).open().unwrap();
    assert_eq!(open().read(4).unwrap(), b"mine");
    let error = open().read(3).unwrap_err().to_string();
    assert_eq!(error, "it is larger than 0 KiB, the most that is read");
    // A hole of a terabyte takes no room.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(open().read(1 << 20), Err(OpenError::TooLarge { .. })));
}

/// A change of a file, and its name.
type Change = (&'static str, fn(&Path));

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let folders = Folders::new();
    let path = folders.path("app/sub/x");
    let changes: [Change; 3] = [
        ("it grows", |path| {
            fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"!").unwrap();
        }),
        ("it shrinks", |path| {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1).unwrap();
        }),
        ("other bytes, as many", |path| {
            fs::write(path, "your").unwrap();
            // Two writes within one tick of the file system's clock would have the same time.
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
            fs::File::open(path).unwrap().set_modified(later).unwrap();
        }),
    ];
    for (how, change) in changes {
        fs::write(&path, "mine").unwrap();
        let opened = Located::anywhere(&path).open().unwrap();
        change(&path);
        assert!(matches!(opened.read(1000), Err(OpenError::Changed)), "{how}");
    }
    // A name that leads to another file by now is another matter.
    fs::write(&path, "mine").unwrap();
    let opened = Located::anywhere(&path).open().unwrap();
    fs::write(folders.path("new"), "new").unwrap();
    fs::rename(folders.path("new"), &path).unwrap();
    assert_eq!(opened.read(1000).unwrap(), b"mine");
}
