//! The prose of sources and pages: first lines that name the thing, sentences that begin with their
//! subject and are short, and lines of one width.

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

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_made =
            ["target", "bindings", "results", ".git"].iter().any(|name| path.ends_with(name));
        if path.is_dir() && !is_made {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut sources = Vec::new();
    for folder in ["host", "guest-sdk", "examples", "benches"] {
        files(&root().join(folder), "rs", &mut sources);
    }
    assert!(sources.len() > 300, "{} files", sources.len());
    sources
}

/// The pages of the project, without results of measurements.
pub(crate) fn all_pages() -> Vec<(PathBuf, String)> {
    let mut pages = Vec::new();
    files(root(), "md", &mut pages);
    assert!(pages.len() > 25, "{} pages", pages.len());
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(&path).unwrap());
    pages.into_iter().map(read).collect()
}

/// The sentences of a page.
fn sentences_of_page(page: &str) -> Vec<String> {
    sentences_of(page.lines().map(|line| Some(line.trim())))
}

/// The text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.strip_prefix(['/', '!']).unwrap_or(text).trim())
}

/// The text of an item of a list.
fn item(text: &str) -> Option<&str> {
    let (mark, rest) = text.split_once(' ')?;
    let number = mark.strip_suffix('.').unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (mark == "-" || is_number).then_some(rest)
}

/// The sentences of a source's comments.
fn sentences(source: &str) -> Vec<String> {
    sentences_of(source.lines().map(comment))
}

/// The sentences of lines, without code, headings and tables. A line that is none of a text ends a
/// paragraph.
fn sentences_of<'a>(lines: impl Iterator<Item = Option<&'a str>>) -> Vec<String> {
    let (mut blocks, mut block, mut is_code) = (Vec::new(), String::new(), false);
    for text in lines {
        let fence = text.is_some_and(|text| text.starts_with("```"));
        is_code ^= fence;
        match text {
            Some(text)
                if !fence && !is_code && !text.is_empty() && !text.starts_with(['|', '#']) =>
            {
                let item = item(text);
                if item.is_some() {
                    blocks.push(std::mem::take(&mut block));
                }
                block += item.unwrap_or(text);
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

fn has_no_subject(sentence: &str) -> bool {
    NO_SUBJECTS.iter().any(|word| {
        let rest = sentence.strip_prefix(word);
        rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    })
}

/// Under one in a hundred of some sentences, each with its file, lacks a subject.
#[track_caller]
fn assert_subjects(sentences: &[(PathBuf, String)]) {
    let wrong = sentences.iter().filter(|(_, sentence)| has_no_subject(sentence));
    let wrong: Vec<String> =
        wrong.map(|(file, sentence)| format!("{}: {sentence}", file.display())).collect();
    let all = sentences.len();
    assert!(wrong.len() * 100 < all, "{} of {all}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn sentences_begin_with_their_subject() {
    let mut all = Vec::new();
    for file in all_sources() {
        let sentences = sentences(&fs::read_to_string(&file).unwrap());
        all.extend(sentences.into_iter().map(|sentence| (file.clone(), sentence)));
    }
    assert!(all.len() > 5000, "{} sentences", all.len());
    assert_subjects(&all);
}

#[test]
fn sentences_of_pages_begin_with_their_subject() {
    let mut all = Vec::new();
    for (path, page) in all_pages() {
        all.extend(sentences_of_page(&page).into_iter().map(|sentence| (path.clone(), sentence)));
    }
    assert!(all.len() > 700, "{} sentences", all.len());
    assert_subjects(&all);
}

/// The most words that the sentences of a page have on average.
const MEAN_WORDS: usize = 20;

#[test]
fn sentences_of_pages_are_short() {
    for (path, page) in all_pages() {
        let sentences = sentences_of_page(&page);
        let words: usize =
            sentences.iter().map(|sentence| sentence.split_whitespace().count()).sum();
        assert!(
            words <= MEAN_WORDS * sentences.len(),
            "{}: {} sentences have {words} words, more than {MEAN_WORDS} on average",
            path.display(),
            sentences.len()
        );
    }
}

/// The most words of the page that describes the architecture, drawings aside.
const ARCHITECTURE_WORDS: usize = 900;

#[test]
fn the_architecture_is_one_page() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let prose = text.split("```").step_by(2);
    let words: usize = prose.map(|prose| prose.split_whitespace().count()).sum();
    assert!(words <= ARCHITECTURE_WORDS, "{words} words; move details to other pages of docs");
}

/// The width of a page's lines, which is also that of code.
pub(crate) const WIDTH: usize = 100;

/// Code, tables and single words keep their width. The changelog is excepted: one entry, one line.
#[test]
fn lines_of_pages_have_one_width() {
    let mut wide = Vec::new();
    for (path, page) in all_pages() {
        let mut is_code = false;
        for (index, line) in page.lines().enumerate() {
            let text = line.trim();
            is_code ^= text.starts_with("```");
            let may_be_wide = is_code || text.starts_with(['|', '`', '#']) || !text.contains(' ');
            if !may_be_wide && line.chars().count() > WIDTH && !path.ends_with("CHANGELOG.md") {
                wide.push(format!("{}:{}: {line}", path.display(), index + 1));
            }
        }
    }
    assert!(wide.is_empty(), "over {WIDTH} columns:\n{}", wide.join("\n"));
}

/// Drawings, tables, examples and single words keep their width. Bindings are made from WIT.
#[test]
fn lines_of_comments_have_the_same_width() {
    let mut wide = Vec::new();
    for path in all_sources() {
        let source = fs::read_to_string(&path).unwrap();
        let mut is_code = false;
        for (index, line) in source.lines().enumerate() {
            let comment = line.trim_start();
            let Some(text) = comment.strip_prefix("//") else { continue };
            let text = text.trim_start_matches(['/', '!']).trim_start();
            is_code ^= text.starts_with("```");
            let may_be_wide = is_code || text.starts_with('|') || !text.contains(' ');
            if !may_be_wide && line.chars().count() > WIDTH {
                wide.push(format!("{}:{}: {line}", path.display(), index + 1));
            }
        }
    }
    assert!(wide.is_empty(), "over {WIDTH} columns:\n{}", wide.join("\n"));
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
