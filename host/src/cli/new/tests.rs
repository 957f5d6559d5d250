use clap::ValueEnum;
use lacewing_manifest::App;

use super::*;

fn args(dir: &Path, name: &str, template: FunctionTemplate) -> NewArgs {
    NewArgs { name: name.parse().unwrap(), template, dir: Some(dir.join(name)), sdk: None }
}

fn read(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap()
}

#[test]
fn every_template_has_a_manifest_that_reads_without_a_warning() {
    let root = tempfile::tempdir().unwrap();
    for template in FunctionTemplate::value_variants() {
        let name = format!("made-{template}");
        let dir = create(&args(root.path(), &name, *template)).unwrap();
        let (app, warnings) = App::load(&dir).unwrap();
        assert_eq!(app.name.as_str(), name);
        assert_eq!(app.functions.len(), 1);
        assert_eq!(app.functions[0].name.as_str(), name);
        assert_eq!(
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            Vec::<String>::new()
        );
        let has_routes = !app.functions[0].routes.is_empty();
        let serves_http = matches!(
            template,
            FunctionTemplate::Http | FunctionTemplate::Json | FunctionTemplate::Streaming
        );
        assert_eq!(has_routes, serves_http, "{template}");
    }
}

#[test]
fn every_template_is_complete_and_has_a_test() {
    let root = tempfile::tempdir().unwrap();
    for template in FunctionTemplate::value_variants() {
        let dir = create(&args(root.path(), &format!("made-{template}"), *template)).unwrap();
        let mut files: Vec<_> =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(
            files,
            [".cargo", ".gitignore", "Cargo.toml", "README.md", "lacewing.toml", "src"]
        );
        assert!(read(&dir, "src/lib.rs").contains("#[test]"), "{template}");
        for file in ["Cargo.toml", "README.md", "lacewing.toml", "src/lib.rs"] {
            let text = read(&dir, file);
            assert!(!text.contains("{{"), "{template}: {file} has a placeholder left");
        }
        let cargo_toml: toml::Table = read(&dir, "Cargo.toml").parse().unwrap();
        assert_eq!(cargo_toml["package"]["name"].as_str(), Some(&*format!("made-{template}")));
        assert!(cargo_toml["dependencies"].get("lacewing-sdk").is_some(), "{template}");
        // Nothing that is committed names a place on this machine.
        for file in ["Cargo.toml", "README.md", "lacewing.toml", "src/lib.rs", ".gitignore"] {
            let text = read(&dir, file);
            let root = env!("CARGO_MANIFEST_DIR").trim_end_matches("/host");
            assert!(!text.contains(root), "{template}: {file} has a path: {text}");
        }
        assert!(read(&dir, ".gitignore").contains("\n/.cargo/config.toml\n"), "{template}");
    }
}

#[test]
fn the_sdk_is_the_source_trees_or_the_one_that_is_named() {
    // Tests run in the source tree.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk").canonicalize().unwrap();
    let sdk = Sdk::find(None).unwrap();
    assert_eq!(sdk, Sdk::Local(own.clone()));
    let config: toml::Table = sdk.cargo_config().unwrap().parse().unwrap();
    assert_eq!(config["patch"]["crates-io"]["lacewing-sdk"]["path"].as_str(), own.to_str());
    let repository = Sdk::Repository.requirement();
    assert_eq!(repository["git"].as_str(), Some("https://github.com/lacewing-run/lacewing"));
    assert_eq!(Sdk::Repository.cargo_config(), None);

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("Cargo.toml"), "[package]\nname = \"other\"").unwrap();
    assert_eq!(
        Sdk::find(Some(dir.path())).unwrap_err().to_string(),
        format!(
            "{} is not the lacewing-sdk: it has no Cargo.toml with `name = \"lacewing-sdk\"`",
            dir.path().display()
        )
    );
    fs::write(dir.path().join("Cargo.toml"), "[package]\nname = \"lacewing-sdk\"").unwrap();
    let named = Sdk::find(Some(dir.path())).unwrap();
    assert_eq!(named, Sdk::Local(dir.path().canonicalize().unwrap()));
}

#[test]
fn existing_files_are_not_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let hello = args(root.path(), "hello", FunctionTemplate::Http);
    let dir = root.path().join("hello");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let error = create(&hello).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is not empty: name a directory that is, or is not there yet, with --dir",
            dir.display()
        )
    );
    assert_eq!(error.exit_code(), ExitCode::Failure);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);

    fs::remove_dir_all(&dir).unwrap();
    fs::write(&dir, "mine").unwrap();
    let error = create(&hello).unwrap_err().to_string();
    assert_eq!(error, format!("{} is a file: name another place with --dir", dir.display()));

    fs::remove_file(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    assert_eq!(create(&hello).unwrap(), dir);
}

#[test]
fn a_name_that_would_not_compile_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let error = create(&args(root.path(), "async", FunctionTemplate::Http)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a Cargo package cannot be called `async`, which Rust or the template uses itself: choose another name"
    );
    assert_eq!(error.exit_code(), ExitCode::Usage);
    assert!(!root.path().join("async").exists());
}

#[test]
fn inside_a_workspace_it_stands_alone() {
    let root = tempfile::tempdir().unwrap();
    let outside = create(&args(root.path(), "outside", FunctionTemplate::Http)).unwrap();
    assert!(!read(&outside, "Cargo.toml").contains("[workspace]"));
    fs::write(root.path().join("Cargo.toml"), "[workspace]\nmembers = []").unwrap();
    let inside = create(&args(root.path(), "inside", FunctionTemplate::Http)).unwrap();
    let cargo_toml: toml::Table = read(&inside, "Cargo.toml").parse().unwrap();
    assert!(cargo_toml.contains_key("workspace"));
}
