//! The reference pages of `docs`, generated from the types that read `lacewing.toml` and
//! `host.toml`.

use std::{env, fmt::Write, fs};

use lacewing::{
    config::{self, AppKey, Settings},
    manifest,
};
use lacewing_base::LimitKey;
use serde_json::Value;

use crate::{
    harness::root,
    prose::{WIDTH, all_pages},
};

/// The variable that makes the test write the pages instead of comparing them.
const WRITE: &str = "LACEWING_WRITE_DOCS";
const COMMAND: &str = "LACEWING_WRITE_DOCS=1 cargo test -p lacewing --test it reference";

/// A table of a file: the places where it may stand, and the schema of its keys.
struct Table<'a> {
    name: &'a str,
    places: Vec<String>,
    schema: &'a Value,
}

/// The tables of a schema, each once, in the order in which a reader meets them.
struct Tables<'a> {
    root: &'a Value,
    found: Vec<Table<'a>>,
}

impl<'a> Tables<'a> {
    fn of(root: &'a Value) -> Vec<Table<'a>> {
        let mut tables = Tables { root, found: Vec::new() };
        tables.add("", String::new(), root);
        tables.found
    }

    fn add(&mut self, name: &'a str, place: String, schema: &'a Value) {
        match self.found.iter_mut().find(|table| table.name == name) {
            Some(table) => table.places.push(place.clone()),
            None => self.found.push(Table { name, places: vec![place.clone()], schema }),
        }
        for (key, value) in keys(schema) {
            let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
            self.follow(place, value);
        }
    }

    /// Adds the tables that a value of the schema may be.
    fn follow(&mut self, place: String, value: &'a Value) {
        if let Some((name, schema)) = resolved(self.root, value) {
            match schema["properties"].is_object() {
                true => self.add(name, place.clone(), schema),
                false => self.follow(place.clone(), schema),
            }
        }
        for choice in value["anyOf"].as_array().into_iter().flatten() {
            self.follow(place.clone(), choice);
        }
        if value["items"].is_object() {
            self.follow(format!("{place}[]"), &value["items"]);
        }
        if value["additionalProperties"].is_object() {
            self.follow(format!("{place}.NAME"), &value["additionalProperties"]);
        }
    }
}

fn keys(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The definition that a value refers to, and its name.
fn resolved<'a>(root: &'a Value, value: &'a Value) -> Option<(&'a str, &'a Value)> {
    let reference = value["$ref"].as_str()?;
    Some((reference.rsplit('/').next()?, root.pointer(&reference[1..])?))
}

/// The type of a value, in words.
fn kind(root: &Value, value: &Value) -> String {
    if let Some((_, schema)) = resolved(root, value) {
        return kind(root, schema);
    }
    let choices = |key: &str| value[key].as_array().cloned();
    if let Some(choices) = choices("oneOf") {
        let words = choices.iter().map(|choice| format!("`{}`", choice["const"]));
        return words.collect::<Vec<_>>().join(", ");
    }
    if let Some(choices) = choices("anyOf") {
        let kinds = choices.iter().map(|choice| kind(root, choice));
        return kinds.collect::<Vec<_>>().join(" or ");
    }
    match value["type"].as_str() {
        Some("string") => "text".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => {
            let [least, most] =
                ["minimum", "maximum"].map(|key| grouped(value[key].as_u64().unwrap()));
            format!("{least} to {most}")
        }
        Some("array") => format!("list of {}", kind(root, &value["items"])),
        Some("object") if value["additionalProperties"].is_object() => {
            format!("{} for each name", kind(root, &value["additionalProperties"]))
        }
        Some("object") => "table".to_owned(),
        other => panic!("no words for {other:?}: {value}"),
    }
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The unit that the name of a key says.
fn unit(key: &str, value: &Value) -> &'static str {
    const UNITS: &[(&str, &str)] = &[
        ("_per_s", "per second"),
        ("_mib", "MiB"),
        ("_kib", "KiB"),
        ("_ms", "milliseconds"),
        ("_s", "seconds"),
    ];
    let named = UNITS.iter().find(|(suffix, _)| key.ends_with(suffix));
    match (value["type"] == "integer", named) {
        (true, Some((_, unit))) => unit,
        (true, None) => "count",
        (false, _) => "",
    }
}

/// The default of a key: of the schema, or of the host's settings where it is a cap.
fn default(table: &Table, key: &str, value: &Value) -> String {
    let required = table.schema["required"].as_array().into_iter().flatten();
    if required.into_iter().any(|name| name == key) {
        return "required".to_owned();
    }
    if table.name == "Caps" {
        let caps = Settings::new("".into()).caps;
        let limit = LimitKey::ALL.iter().find(|limit| limit.as_str() == key);
        let app = || AppKey::ALL.iter().find(|app| app.as_str() == key);
        let cap = match limit {
            Some(limit) => caps.get(*limit),
            None => caps.of_app(*app().expect("a cap is of a limit or of an app")),
        };
        return cap.map_or("none".to_owned(), |cap| format!("`{cap}`"));
    }
    match value.get("default") {
        Some(Value::Object(_)) | None => String::new(),
        Some(Value::Array(list)) if list.is_empty() => "none".to_owned(),
        Some(default) => format!("`{default}`"),
    }
}

/// The heading of a table.
fn heading(table: &Table) -> String {
    let name = |place: &String| match place.strip_suffix("[]") {
        Some(list) => format!("An item of `{list}`"),
        None => format!("`[{place}]`"),
    };
    match table.places.as_slice() {
        [place] if place.is_empty() => "Top level".to_owned(),
        places => places.iter().map(name).collect::<Vec<_>>().join(" and "),
    }
}

/// A paragraph in lines of the width of the docs. A code span is not divided.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line, mut span) = (String::new(), String::new(), String::new());
    for word in text.split_whitespace() {
        if !span.is_empty() {
            span.push(' ');
        }
        span += word;
        if span.matches('`').count() % 2 == 1 {
            continue;
        }
        if line.len() + 1 + span.len() > WIDTH {
            lines += std::mem::take(&mut line).as_str();
            lines.push('\n');
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += std::mem::take(&mut span).as_str();
    }
    lines + &line + "\n"
}

fn page(file: &str, reader: &str, schema: &Value) -> String {
    let intro = [
        format!("This page is generated from the types of `{reader}`, and a test compares both. To write it again, run `{COMMAND}`."),
        "A number is a whole number, and its type is its range. A key without an entry under *default* may be left out; the meaning says what holds then. A key that is not on this page is an error.".to_owned(),
    ];
    let mut page = format!("# Keys of `{file}`\n\n{}\n{}", wrapped(&intro[0]), wrapped(&intro[1]));
    for table in Tables::of(schema) {
        let description = table.schema["description"].as_str().unwrap_or_default();
        write!(page, "\n## {}\n\n{}\n", heading(&table), wrapped(description)).unwrap();
        page += "| key | type | unit | default | meaning |\n|---|---|---|---|---|\n";
        for (key, value) in keys(table.schema) {
            let (kind, unit) = (kind(schema, value), unit(key, value));
            let default = default(&table, key, value);
            let meaning = value["description"].as_str().unwrap_or_default();
            assert!(!meaning.contains('|'), "{key}: a bar ends the cell of a table");
            writeln!(page, "| `{key}` | {kind} | {unit} | {default} | {meaning} |").unwrap();
        }
    }
    page
}

#[track_caller]
fn assert_page(file: &str, reader: &str, schema: &Value) {
    let path = root().join("docs").join(format!("{file}.md"));
    let page = page(file, reader, schema);
    if env::var_os(WRITE).is_some() {
        return fs::write(path, page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let mut lines = page.lines().zip(written.lines().chain(std::iter::repeat("")));
    let other = lines.find(|(line, written)| line != written);
    assert!(
        page == written,
        "docs/{file}.md is not what the types say, from this line on:\n{other:#?}\nwrite it again: {COMMAND}"
    );
}

#[test]
fn the_page_of_lacewing_toml_has_every_key() {
    let schema = manifest::json_schema();
    assert_page("lacewing.toml", "host/crates/manifest/src/raw.rs", &schema);
}

#[test]
fn the_page_of_host_toml_has_every_key() {
    let schema = config::json_schema();
    assert_page("host.toml", "host/crates/manifest/src/config/raw.rs", &schema);
}

/// A number without a default in its column has one in its words.
#[test]
fn every_number_says_what_holds_without_it() {
    for schema in [manifest::json_schema(), config::json_schema()] {
        for table in Tables::of(&schema) {
            for (key, value) in keys(table.schema) {
                let words = value["description"].as_str().unwrap_or_default();
                let is_said = !default(&table, key, value).is_empty() || words.contains("default");
                assert!(value["type"] != "integer" || is_said, "{}.{key}: {words}", table.name);
            }
        }
    }
}

/// The keys of a value that its schema does not have, with their places.
fn unknown_keys(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some((_, schema)) = resolved(root, schema) {
        return unknown_keys(root, schema, value, place);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let tables =
            choices.iter().filter(|choice| choice["$ref"].is_string() && value.is_object());
        return tables.flat_map(|table| unknown_keys(root, table, value, place)).collect();
    }
    let items = value.as_array().into_iter().flatten();
    let mut unknown: Vec<String> =
        items.flat_map(|item| unknown_keys(root, &schema["items"], item, place)).collect();
    for (key, value) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{key}");
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Object(_)) => {
                let schema = &schema["additionalProperties"];
                unknown.extend(unknown_keys(root, schema, value, &place));
            }
            (Value::Null, _) => unknown.push(place),
            (schema, _) => unknown.extend(unknown_keys(root, schema, value, &place)),
        }
    }
    unknown
}

/// The pages show parts of manifests and host files. A part belongs to the file that has its first
/// key.
#[test]
fn examples_of_pages_have_keys_that_exist() {
    let schemas = [manifest::json_schema(), config::json_schema()];
    let mut examples = 0;
    for (path, page) in all_pages() {
        for block in page.split("```toml\n").skip(1) {
            let text = block.split("\n```").next().unwrap();
            let table: toml::Table = toml::from_str(text)
                .unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display()));
            let value = serde_json::to_value(table).unwrap();
            let (first, _) = value.as_object().unwrap().iter().next().unwrap();
            if first == "package" || first == "dependencies" {
                continue;
            }
            let schema = schemas.iter().find(|schema| schema["properties"][first].is_object());
            let schema = schema.unwrap_or_else(|| panic!("{}: `{first}`", path.display()));
            let unknown = unknown_keys(schema, schema, &value, "");
            assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
            examples += 1;
        }
    }
    assert!(examples > 10, "{examples} examples");
}
