//! The source of a function's component.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf, absolute},
};

use lacewing_base::{
    Limits, Methods, Route, RoutePath,
    file::{Located, OpenError, Reach},
    name::{AppName, FunctionName, MAX_NAME_BYTES},
};

use super::{App, Diagnostic, Function, ManifestText, Outside, Written, WrittenGrants};

/// Where a function's component comes from. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A Rust package, which is compiled for `wasm32-wasip2`.
    Crate {
        /// Its directory, which holds a Cargo.toml.
        dir: PathBuf,
    },
    /// A command that makes the component.
    Build {
        /// The command, for the shell.
        command: String,
        /// The component that it makes; need not exist.
        output: PathBuf,
        /// The directory that it runs in.
        dir: PathBuf,
    },
    /// A component that is there already.
    Component(PathBuf),
}

/// The app of a bare component.
pub(super) fn app_of_component(path: &Path) -> Result<App, Diagnostic> {
    let wrong = |message: String| Diagnostic::error(message).in_file(path);
    Located::anywhere(path).open().map_err(|error| wrong(no_component(path, &error)))?;
    let no_path = |error| wrong(format!("`{}` has no absolute path: {error}", path.display()));
    let file = absolute(path).map_err(no_path)?;
    let failed = || Diagnostic::error("this name cannot be the name of an app").in_file(path);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = name_like(&stem);
    let place = ManifestText::new(path, "").place(0..0);
    let path = "/{*path}".parse::<RoutePath>().map_err(|_| failed())?;
    let route = Route { path, methods: Methods::Every, host: None };
    let function = Function {
        name: name.parse::<FunctionName>().map_err(|_| failed())?,
        source: Source::Component(file.clone()),
        routes: vec![Written::new(route, place.clone())],
        limits: Limits::default(),
        written_limits: Vec::new(),
        env: Vec::new(),
        outside: Outside::default(),
        grants: WrittenGrants::default(),
        cors: None,
        place: place.clone(),
    };
    Ok(App {
        name: name.parse::<AppName>().map_err(|_| failed())?,
        kv_stores: Vec::new(),
        buckets: Vec::new(),
        functions: vec![function],
        root: file.parent().unwrap_or(&file).to_owned(),
        reach: Reach::Anywhere,
        manifest: None,
    })
}

/// The name that comes nearest to a text: `My_Function.v2` gives `my-function-v2`.
pub(crate) fn name_like(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' => name.push(c),
            '0'..='9' if !name.is_empty() => name.push(c),
            '0'..='9' => name.extend(['f', c]),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
        if name.len() >= MAX_NAME_BYTES {
            break;
        }
    }
    name.truncate(MAX_NAME_BYTES);
    name.truncate(name.trim_end_matches('-').len());
    if name.is_empty() { "function".to_owned() } else { name }
}

/// A sentence that says why a path leads to no component.
pub(super) fn no_component(path: &Path, error: &OpenError) -> String {
    let path = path.display();
    match error {
        OpenError::Directory => format!("`{path}` is a directory, and a component was expected"),
        OpenError::Special => format!("`{path}` is not a regular file; a component was expected"),
        OpenError::Io(error) if error.kind() == ErrorKind::NotFound => {
            format!("there is no file `{path}`")
        }
        OpenError::Io(error) => format!("`{path}` cannot be read: {error}"),
        error => format!("`{path}` is not taken: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_like_texts() {
        let names = [
            ("hello", "hello"),
            ("My_Function.v2", "my-function-v2"),
            ("2fast", "f2fast"),
            ("--a--b--", "a-b"),
            ("", "function"),
            ("ünïcode", "n-code"),
            ("日本", "function"),
        ];
        for (text, name) in names {
            assert_eq!(name_like(text), name, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_text_is_like_a_name(text in "\\PC{0,80}|[A-Z_0-9-]{0,80}") {
            prop_assert!(name_like(&text).parse::<AppName>().is_ok(), "{}", name_like(&text));
        }
    }
}
