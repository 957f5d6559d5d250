use super::*;

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"lacewing").chain(args))
}

fn os(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}

#[test]
fn the_definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_shows_an_example() {
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = format!("\n  lacewing {}", command.get_name());
        assert!(help.starts_with("Example"), "{} has no example", command.get_name());
        assert!(help.contains(&example), "{}'s example is another's", command.get_name());
    }
}

#[test]
fn no_line_of_a_help_is_wrapped_twice() {
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
        }
    }
}

#[test]
fn every_exit_code_is_in_the_help() {
    let codes = [
        ExitCode::Success,
        ExitCode::Failure,
        ExitCode::Usage,
        ExitCode::Build,
        ExitCode::Invalid,
        ExitCode::Outcome,
    ];
    let listed: Vec<&str> = EXIT_CODES.lines().filter(|line| line.starts_with("  ")).collect();
    for (number, code) in codes.into_iter().enumerate() {
        assert_eq!(code as usize, number);
        assert!(listed[number].starts_with(&format!("  {number}  ")), "{}", listed[number]);
    }
}

#[test]
fn wrong_arguments_are_usage_and_help_is_success() {
    let code = |args: &[&str]| {
        let error = parse(args).unwrap_err();
        if error.use_stderr() { ExitCode::Usage } else { ExitCode::Success }
    };
    assert_eq!(code(&["hatch"]), ExitCode::Usage);
    assert_eq!(code(&["completions"]), ExitCode::Usage);
    assert_eq!(code(&["completions", "cmd.exe"]), ExitCode::Usage);
    assert_eq!(code(&["--color", "mauve", "completions", "bash"]), ExitCode::Usage);
    assert_eq!(code(&["--help"]), ExitCode::Success);
    assert_eq!(code(&["--version"]), ExitCode::Success);
}

#[test]
fn color_is_known_before_the_arguments_are() {
    assert_eq!(color_before_parsing(&os(&["lacewing", "up"])), ColorChoice::Auto);
    assert_eq!(color_before_parsing(&os(&["lacewing", "--color", "never"])), ColorChoice::Never);
    assert_eq!(
        color_before_parsing(&os(&["lacewing", "x", "--color=always"])),
        ColorChoice::Always
    );
    assert_eq!(color_before_parsing(&os(&["lacewing", "--color"])), ColorChoice::Auto);
    assert_eq!(color_before_parsing(&os(&["lacewing", "--colors=never"])), ColorChoice::Auto);
}
