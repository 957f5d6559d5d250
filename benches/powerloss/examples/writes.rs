//! Changes and syncs of files in the working directory, by the name of a scenario: the program that
//! the recorder's tests record.

use std::{
    fs::{self, File},
    io::{self, IoSlice, Write as _},
    os::unix::fs::FileExt as _,
};

fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("all") => all(),
        Some("synced") => synced(),
        Some("forgotten") => forgotten(),
        other => Err(io::Error::other(format!("no scenario {other:?}"))),
    }
}

/// Every kind of change, and no sync.
fn all() -> io::Result<()> {
    fs::create_dir("folder")?;
    fs::write("folder/a", "hello")?;
    let mut appended = File::options().append(true).open("folder/a")?;
    appended.write_all(b", ")?;
    let parts = [IoSlice::new(b"wor"), IoSlice::new(b"ld")];
    assert_eq!(appended.write_vectored(&parts)?, 5);
    let mut file = File::create("b")?;
    file.write_all(b"01234")?;
    file.write_all(b"56789")?;
    file.write_all_at(b"xx", 4)?;
    file.set_len(8)?;
    fs::rename("b", "c")?;
    fs::hard_link("c", "d")?;
    fs::remove_file("c")?;
    fs::write("gone", "")?;
    fs::remove_file("gone")?;
    fs::create_dir("empty")?;
    fs::remove_dir("empty")?;
    fs::write("old", "emptied before")?;
    fs::rename("folder", "moved")
}

/// Changes before a sync, and after it.
fn synced() -> io::Result<()> {
    let old = File::options().write(true).open("old")?;
    old.write_all_at(b"O", 0)?;
    old.sync_all()?;
    old.write_all_at(b"D", 2)?;
    let mut a = File::create("a")?;
    a.write_all(b"content")?;
    a.sync_data()?;
    fs::create_dir("folder")?;
    File::open(".")?.sync_all()?;
    let mut b = File::create("folder/b")?;
    b.write_all(b"content without a name")?;
    b.sync_all()?;
    fs::rename("a", "c")
}

/// A change and its sync.
fn forgotten() -> io::Result<()> {
    let old = File::options().write(true).open("old")?;
    old.write_all_at(b"new", 0)?;
    old.sync_all()
}
