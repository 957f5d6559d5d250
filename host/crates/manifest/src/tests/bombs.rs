//! Manifests that are written to be slow, or to be held: each takes work and memory in proportion
//! to its size, whatever it says.

use super::super::{App, Diagnostic, ManifestText, findings::MAX_FINDINGS};

/// Four times what a host reads by default.
const BYTES: usize = 1024 * 1024;

/// As many lines as fit.
fn lines(head: &str, line: impl Fn(usize) -> String) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let line = line(number);
        if text.len() + line.len() > BYTES {
            break;
        }
        text += &line;
    }
    text
}

/// Functions of as many items each as an array may have.
fn arrays(key: &str, item: impl Fn(usize) -> String) -> String {
    lines("app = \"a\"\n", |number| {
        let open = if number % 1000 == 0 {
            let close = if number == 0 { "" } else { "]\n" };
            format!("{close}[functions.f{number}]\ncomponent = \"x\"\n{key} = [")
        } else {
            String::new()
        };
        format!("{open}{},", item(number))
    }) + "]\n"
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// A mistake, and a text of a megabyte that makes it as often as it can.
type Bomb = (&'static str, String);

/// Items of arrays.
fn of_items() -> Vec<Bomb> {
    let names = (0..200).map(|n| format!("\"{}{n}\"", "M".repeat(200))).collect::<Vec<_>>();
    let wordy = format!(
        "app = \"a\"\n[functions.f]\ncomponent = \"x\"\nroutes = [{{ path = \"/{{b}}\", methods = [{}, \"GET\"] }}]\n[functions.g]\ncomponent = \"x\"\nroutes = [",
        names.join(",")
    );
    let path = (0..200_000).map(|n| format!("/{{a{n:x}}}")).collect::<String>();
    vec![
        ("equal routes", arrays("routes", |_| quoted("/"))),
        (
            "routes that differ in a method",
            arrays("routes", |n| format!("{{path=\"/\",methods=[\"M{n}\"]}}")),
        ),
        (
            "parameters at one place",
            arrays("routes", |n| {
                quoted(&format!("/{{{}a}}/{n}", if n % 2 == 0 { "" } else { "*" }))
            }),
        ),
        (
            "routes for hosts",
            arrays("routes", |n| format!("{{path=\"/\",host=\"h{n}.{}test\"}}", "a.".repeat(40))),
        ),
        ("routes that are no paths", arrays("routes", |n| n.to_string())),
        (
            "clashes that quote a long route",
            lines(&wordy, |_| "{ path = \"/{c}\", methods = [\"GET\"] },".to_owned()) + "]\n",
        ),
        (
            "one path of parameters",
            format!("app = \"a\"\nfunctions.f.routes = [\"{}\"]\n", &path[..BYTES - 100]),
        ),
        ("bad grants", arrays("grants.http", |n| quoted(&format!("x{n}")))),
        ("equal grants", arrays("grants.http", |_| quoted("https://a.b"))),
        ("bad networks", arrays("grants.networks", |n| quoted(&n.to_string()))),
        ("bad origins", arrays("cors.origins", |n| quoted(&n.to_string()))),
        ("equal headers", arrays("cors.expose", |_| quoted("a"))),
        ("equal methods", arrays("cors.methods", |_| quoted("GET"))),
        ("misspelt methods", arrays("cors.methods", |n| quoted(&format!("gett{n}")))),
    ]
}

/// Keys and tables.
fn of_keys() -> Vec<Bomb> {
    let env =
        (0..1000).map(|n| format!("e{n} = {}\n", quoted(&"x".repeat(50)))).collect::<String>();
    vec![
        (
            "names of the host's",
            lines("app = \"a\"\n[functions.f]\ncomponent = \"x\"\n[functions.f.env]\n", |n| {
                format!("LACEWING_{n} = \"\"\n")
            }),
        ),
        (
            "functions without a name",
            lines("app = \"a\"\n[functions]\n", |n| format!("A{n} = {{}}\n")),
        ),
        (
            "functions without code",
            lines("app = \"a\"\n[functions]\n", |n| format!("a{n} = {{}}\n")),
        ),
        (
            "many functions, each with all variables",
            lines(&format!("app = \"a\"\n[defaults.env]\n{env}[functions]\n"), |n| {
                format!("a{n} = {{}}\n")
            }),
        ),
        ("unknown keys", lines("", |n| format!("x{n} = 1\n"))),
        (
            "unknown keys of functions",
            lines("app = \"a\"\n[functions]\n", |n| format!("a{n}.x = 1\n")),
        ),
        ("wrong types", arrays("grants.http", |n| n.to_string())),
        ("one line", format!("functions = {{ {} }}\n", lines("", |n| format!("A{n} = {{}}, ")))),
        ("no TOML", lines("", |_| "= 1\n".to_owned())),
        ("no TOML, on one line", "[".repeat(BYTES)),
        ("equal keys", lines("", |_| "a = 1\n".to_owned())),
        ("a deep key", format!("{}a = 1\n", "a.".repeat(BYTES / 2 - 3))),
        ("deep keys", lines("", |n| format!("{}a{n} = 1\n", "a.".repeat(70)))),
        ("deep tables", lines("", |n| format!("[{}a{n}]\n", "a.".repeat(70)))),
        (
            "tables that are opened again",
            lines("", |n| format!("[f{}{}]\n", n % 40_000, if n < 40_000 { ".x" } else { "" })),
        ),
        ("a long word", format!("{} = 1\n", "x".repeat(BYTES - 10))),
        ("newlines", "\n".repeat(BYTES)),
    ]
}

#[test]
fn findings_are_bounded_whatever_a_manifest_says() {
    for (what, text) in of_items().into_iter().chain(of_keys()) {
        let text = ManifestText::new("/nowhere/lacewing.toml", text);
        let (app, findings) = match App::parse(&text) {
            Ok((app, findings)) => (Some(app), findings),
            Err(findings) => (None, findings),
        };
        assert!(findings.len() <= MAX_FINDINGS + 1, "{what}: {} findings", findings.len());
        assert!(app.is_none() && findings.iter().any(Diagnostic::is_error), "{what}");
        let shown: usize = findings.iter().map(|finding| finding.to_string().len()).sum();
        assert!(shown < 512 * 1024, "{what}: {shown} bytes to show");
    }
}

/// Each value that is taken out costs another look at all of the file.
#[test]
fn a_large_file_is_decoded_few_times() {
    let text = lines("", |n| format!("x{n} = 1\n"));
    let findings = App::parse(&ManifestText::new("/nowhere/lacewing.toml", text)).unwrap_err();
    assert_eq!(findings.len(), 8 + 1);
}
