//! The prose of source files: first lines that name the thing, and sentences that begin with their subject.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::root;

/// Words that begin a question or a clause, and no name of a thing.
const NO_NAMES: &[&str] = &[
    "What", "Who", "Whose", "Whoever", "Whatever", "Which", "Nobody", "Where", "When", "How",
    "Whether", "Does", "Is",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_built = path.ends_with("target") || path.ends_with("bindings");
        if path.is_dir() && !is_built {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["host", "guest-sdk", "examples", "benches"] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 300, "{} files", files.len());
    files
}

/// The text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.strip_prefix(['/', '!']).unwrap_or(text).trim())
}

/// The sentences of a source's comments, without code and tables.
fn sentences(source: &str) -> Vec<String> {
    let (mut blocks, mut block, mut is_code) = (Vec::new(), String::new(), false);
    for text in source.lines().map(comment) {
        let fence = text.is_some_and(|text| text.starts_with("```"));
        is_code ^= fence;
        match text {
            Some(text)
                if !fence && !is_code && !text.is_empty() && !text.starts_with(['|', '#']) =>
            {
                if text.starts_with("- ") {
                    blocks.push(std::mem::take(&mut block));
                }
                block += text.trim_start_matches("- ");
                block.push(' ');
            }
            _ => blocks.push(std::mem::take(&mut block)),
        }
    }
    blocks.push(block);
    let ends = |text: &str| text.ends_with(['.', '?', '!', ':']);
    let mut sentences = Vec::new();
    for block in blocks {
        let mut sentence = String::new();
        for word in block.split_whitespace() {
            if ends(&sentence) && word.starts_with(|c: char| c.is_uppercase() || "`[*".contains(c))
            {
                sentences.push(std::mem::take(&mut sentence));
            }
            if !sentence.is_empty() {
                sentence.push(' ');
            }
            sentence += word;
        }
        if !sentence.is_empty() {
            sentences.push(sentence);
        }
    }
    sentences
}

/// Words that stand for a thing without naming it, at the beginning of a sentence.
const NO_SUBJECTS: &[&str] =
    &["What", "Who", "Whose", "Whoever", "Whatever", "Which", "Nobody", "So many"];

#[test]
fn sentences_begin_with_their_subject() {
    let (mut all, mut wrong) = (0, Vec::new());
    for file in all_sources() {
        let sentences = sentences(&fs::read_to_string(&file).unwrap());
        all += sentences.len();
        let has_none = |sentence: &String| {
            NO_SUBJECTS.iter().any(|word| {
                let rest = sentence.strip_prefix(word);
                rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            })
        };
        let found = sentences.into_iter().filter(has_none);
        wrong.extend(found.map(|sentence| format!("{}: {sentence}", file.display())));
    }
    assert!(all > 5000, "{all} sentences");
    assert!(wrong.len() * 100 < all, "{} of {all}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn first_lines_name_the_thing() {
    let mut wrong = Vec::new();
    for file in all_sources() {
        let text = fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let Some(head) = first.strip_prefix("//! ") else { continue };
        let word = head.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        if NO_NAMES.contains(&word) {
            wrong.push(format!("{}: {head}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "begin with a noun phrase:\n{}", wrong.join("\n"));
}
