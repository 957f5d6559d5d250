//! The README of an example: its `curl` lines with their answers, and its table.
//!
//! The lines are not given to curl, which need not be there, but are read as curl would: `-i`,
//! `-X`, `-H`, `-d`, `--json`, `-o`, and the URL.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::harness::{Served, root};

/// Fields of an answer that are another each time.
const VARYING: [&str; 2] = ["date", "x-request-id"];
/// The member of a problem document that is.
const INVOCATION: &str = "\"invocation\":\"";

fn read(example: &str) -> String {
    std::fs::read_to_string(root().join("examples").join(example).join("README.md")).unwrap()
}

/// Sends every request that the README shows, and compares the answers; `here` makes an answer one
/// of this run.
pub(super) async fn check(example: &str, served: &Served, here: impl Fn(String) -> String) {
    let readme = read(example);
    assert!(readme.contains(&format!("-- up examples/{example}\n")), "how it is started");
    let curls = commands(&readme);
    assert!(!curls.is_empty(), "the README of {example} shows no curl line");
    check_commands(curls, served, here).await;
}

/// The same for those requests of the repository's README that are for this path, which has to be
/// there.
pub(super) async fn check_front_page(path: &str, served: &Served) {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut curls = commands(&readme);
    curls.retain(|(line, _)| Curl::parse(line).path == path);
    assert!(!curls.is_empty(), "the README shows no curl line for {path}");
    check_commands(curls, served, |text| text).await;
}

async fn check_commands(
    curls: Vec<(String, String)>,
    served: &Served,
    here: impl Fn(String) -> String,
) {
    for (line, expected) in curls {
        let curl = Curl::parse(&line);
        let reply = served.send(curl.method, &curl.path, curl.headers, curl.body).await;
        let mut expected = here(expected);
        if curl.include {
            let (head, body) = expected.split_once("\n\n").unwrap_or((&expected, ""));
            for field in head.lines().skip(1) {
                let (name, value) = field.split_once(": ").unwrap();
                let have = reply.headers[name].to_str().unwrap();
                assert!(VARYING.contains(&name) || have == value, "{line}: {name}: {have}");
            }
            let status = format!("HTTP/1.1 {} ", reply.status);
            assert!(head.starts_with(&status), "{line}: {head}");
            assert_eq!(
                head.lines().count(),
                reply.headers.len() + 1,
                "{line}: {:?}",
                reply.headers
            );
            expected = body.to_owned();
        }
        if curl.shown {
            let same =
                |text: &str| text.split(INVOCATION).next().map(str::trim_end).map(str::to_owned);
            assert_eq!(same(reply.text()), same(&expected), "{line}");
        } else {
            assert_eq!((reply.status, expected.as_str()), (200, ""), "{line}");
        }
    }
}

/// The rows of the README's table, without its head: the cells, without the marks for code.
pub(super) fn rows(example: &str) -> Vec<[String; 4]> {
    let readme = read(example);
    let rows = readme.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        let cells: Vec<String> =
            row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect();
        cells.try_into().unwrap()
    };
    rows.map(cells).collect()
}

/// The `curl` lines of all console blocks, with what stands below each.
fn commands(readme: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let blocks =
        readme.split("```console\n").skip(1).map(|block| block.split("```").next().unwrap());
    for line in blocks.flat_map(str::lines) {
        match line.strip_prefix("$ ") {
            Some(command) => all.push((command.to_owned(), String::new())),
            None => {
                let output = &mut all.last_mut().unwrap().1;
                output.push_str(line);
                output.push('\n');
            }
        }
    }
    all.retain(|(command, _)| command.starts_with("curl "));
    all
}

struct Curl {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    /// The head is shown too.
    include: bool,
    /// The answer is shown, and not written to a file.
    shown: bool,
}

impl Curl {
    fn parse(line: &str) -> Curl {
        let mut curl = Curl {
            method: Method::GET,
            path: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            include: false,
            shown: true,
        };
        let mut words = words(line).into_iter().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap();
            match word.as_str() {
                "-i" => curl.include = true,
                "-N" => {}
                "-X" => curl.method = value().parse().unwrap(),
                "-H" => curl.header(&value()),
                "-o" => {
                    value();
                    curl.shown = false;
                }
                "-d" => {
                    curl.header("content-type: application/x-www-form-urlencoded");
                    (curl.method, curl.body) = (Method::POST, value().into());
                }
                "--json" => {
                    curl.header("content-type: application/json");
                    curl.header("accept: application/json");
                    (curl.method, curl.body) = (Method::POST, value().into());
                }
                url => {
                    let path = url.strip_prefix("http://127.0.0.1:8080").unwrap_or_else(|| {
                        panic!("{line}: {url} is none of curl's words that are known here")
                    });
                    curl.path = path.to_owned();
                }
            }
        }
        curl
    }

    fn header(&mut self, field: &str) {
        let (name, value) = field.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        self.headers.insert(name, HeaderValue::try_from(value).unwrap());
    }
}

/// Words as a shell has them, as far as single quotes go.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    assert!(!quoted, "{line}");
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
