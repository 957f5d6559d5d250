//! A manifest of anybody's: an app or findings, never a panic, and the same each time.

use lacewing::manifest::{App, ManifestText};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let text = ManifestText::new("/fuzz/lacewing.toml", text);
    let read = || App::parse(&text);
    match read() {
        Ok((app, warnings)) => {
            assert!(!app.functions.is_empty(), "an app has a function");
            let names: std::collections::HashSet<_> =
                app.functions.iter().map(|function| function.name.as_str()).collect();
            assert_eq!(names.len(), app.functions.len(), "each function has a name of its own");
            assert!(warnings.iter().all(|warning| !warning.to_string().is_empty()));
            assert_eq!(read().map(|(app, _)| app).ok(), Some(app), "it is read the same again");
        }
        Err(findings) => {
            assert!(!findings.is_empty(), "what is refused is refused for a reason");
            assert!(findings.iter().all(|finding| !finding.to_string().is_empty()));
        }
    }
}
