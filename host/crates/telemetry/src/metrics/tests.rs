//! The text of a scrape.

use std::time::Duration;

use super::*;
use crate::{LogTotals, Usage};

fn key(function: &str) -> FunctionKey {
    FunctionKey {
        tenant: "acme".parse().unwrap(),
        app: "shop".parse().unwrap(),
        function: function.parse().unwrap(),
    }
}

fn exposed(metrics: &Arc<Metrics>) -> String {
    metrics.expose(Exposition::OpenMetrics)
}

fn function(metrics: &Metrics, name: &str) -> Arc<FunctionMetrics> {
    metrics.function(key(name), &Weight::new(1))
}

#[track_caller]
fn assert_has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
}

#[test]
fn an_invocation_is_counted_in_every_figure() {
    let metrics = Arc::new(Metrics::new());
    let cart = function(&metrics, "cart");
    let usage = Usage {
        duration: Duration::from_millis(3),
        cpu: Duration::from_micros(1_500),
        instantiation: Some(Duration::from_nanos(3_700)),
        memory_peak_bytes: 512 * 1024,
        fuel: Some(42),
        bytes_in: 3,
        bytes_out: 13,
    };
    cart.observe(Outcome::Ok, &usage);
    cart.observe(Outcome::Trap, &usage);
    cart.observe_status(201);
    cart.observe_status(599);
    cart.observe_log(LogTotals { lines: 2, bytes: 100, dropped_bytes: 7 });
    cart.set_revisions(vec!["r7".into()]);
    let text = exposed(&metrics);
    let labels = r#"tenant="acme",app="shop",function="cart""#;
    for line in [
        r#"_invocations_total{outcome="ok",LABELS} 1"#,
        r#"_invocations_total{outcome="trap",LABELS} 1"#,
        r#"_invocations_total{outcome="canceled",LABELS} 0"#,
        r#"_responses_total{status="2xx",LABELS} 1"#,
        r#"_responses_total{status="4xx",LABELS} 0"#,
        r#"_responses_total{status="5xx",LABELS} 1"#,
        r#"_invocation_duration_seconds_bucket{le="0.0025",LABELS} 0"#,
        r#"_invocation_duration_seconds_bucket{le="0.005",LABELS} 2"#,
        r#"_invocation_duration_seconds_bucket{le="+Inf",LABELS} 2"#,
        r#"_invocation_duration_seconds_sum{LABELS} 0.006"#,
        r#"_invocation_duration_seconds_count{LABELS} 2"#,
        r#"_invocation_cpu_seconds_total{LABELS} 0.003"#,
        r#"_sandbox_instantiation_seconds_bucket{le="0.000005",LABELS} 2"#,
        r#"_invocation_memory_peak_bytes_bucket{le="524288.0",LABELS} 2"#,
        r#"_invocation_fuel_total{LABELS} 84"#,
        r#"_invocation_input_bytes_total{LABELS} 6"#,
        r#"_invocation_output_bytes_total{LABELS} 26"#,
        r#"_guest_log_bytes_total{LABELS} 100"#,
        r#"_guest_log_dropped_bytes_total{LABELS} 7"#,
        r#"_function_info{revision="r7",LABELS} 1"#,
    ] {
        assert_has(&text, &format!("lacewing{}", line.replace("LABELS", labels)));
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_function_keeps_its_figures_over_revisions_and_takes_them_along() {
    let metrics = Arc::new(Metrics::new());
    let old = function(&metrics, "cart");
    old.observe(Outcome::Ok, &Usage::default());
    let new = function(&metrics, "cart");
    drop(old);
    new.observe(Outcome::Ok, &Usage::default());
    assert_eq!(new.invocations(Outcome::Ok), 2);
    assert_has(&exposed(&metrics), "lacewing_functions 1");
    drop(new);
    // One more scrape shows the counts since the last one, and the next shows nothing.
    let text = exposed(&metrics);
    assert_has(&text, "lacewing_functions 0");
    let line =
        r#"lacewing_invocations_total{outcome="ok",tenant="acme",app="shop",function="cart"} 2"#;
    assert_has(&text, line);
    let text = exposed(&metrics);
    assert!(!text.contains("cart") && !text.contains("acme"), "{text}");
}

#[test]
fn a_function_that_was_never_invoked_has_no_series() {
    let metrics = Arc::new(Metrics::new());
    let idle = function(&metrics, "idle");
    idle.set_revisions(vec!["r1".into()]);
    let text = exposed(&metrics);
    assert!(!text.contains("idle"), "{text}");
    assert_eq!(idle.invocations(Outcome::Ok), 0);
}

#[test]
fn the_host_is_counted() {
    let metrics = Arc::new(Metrics::new());
    let host = metrics.host();
    host.unrouted_requests.inc(Outcome::NoRoute);
    host.artifact_cache.misses.inc();
    host.compilation.observe_duration(Duration::from_millis(20));
    assert!(!exposed(&metrics).contains("lacewing_config"), "nothing was read yet");
    host.config.note(true);
    host.config.note(false);
    metrics.add_counter("log_lines_dropped", "Lines of the log that were dropped", || 5);
    metrics.add_gauge("pool_bytes", "Bytes of the pool", || 6);
    let text = exposed(&metrics);
    for line in [
        r#"lacewing_unrouted_requests_total{outcome="no_route"} 1"#,
        r#"lacewing_artifact_cache_lookups_total{result="miss"} 1"#,
        r#"lacewing_compilation_seconds_bucket{le="0.025"} 1"#,
        "lacewing_log_lines_dropped_total 5",
        "lacewing_config_last_reload_successful 0",
        "lacewing_pool_bytes 6",
    ] {
        assert_has(&text, line);
    }
    assert!(text.contains("lacewing_build_info{version="), "{text}");
}

/// The text that Prometheus refuses: a family described twice, a sample outside its family, a name
/// off convention.
#[test]
fn the_text_is_well_formed() {
    let metrics = Arc::new(Metrics::new());
    let held: Vec<_> = ["a", "b"].map(|name| function(&metrics, name)).into();
    held.iter().for_each(|function| function.observe(Outcome::Ok, &Usage::default()));
    let text = exposed(&metrics);
    let mut families = std::collections::HashSet::new();
    let mut samples = std::collections::HashSet::new();
    let mut family = "";
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            family = typed.split_once(' ').unwrap().0;
            assert!(families.insert(family), "{family} twice");
            assert!(family.starts_with("lacewing_") || family.starts_with("process_"));
        } else if !line.starts_with('#') {
            assert!(line.starts_with(family), "{line} is not of {family}");
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(samples.insert(series), "{series} twice");
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
        }
    }
    assert!(samples.len() > 100, "{text}");
}

/// A host has series for two functions, and five functions.
#[test]
fn functions_without_series_of_their_own_are_counted_together() {
    let metrics = Arc::new(Metrics::with_series(2));
    let share = Weight::new(1);
    let held: Vec<_> =
        ["a", "b", "c", "d", "e"].map(|name| metrics.function(key(name), &share)).into();
    for function in &held {
        function.set_revisions(vec!["r1".into()]);
        function.observe(Outcome::Trap, &Usage { bytes_in: 5, ..Usage::default() });
        function.loaded();
    }
    held[4].provisioned_ready().store(3, Ordering::Relaxed);
    held[3].provisioned_ready().store(4, Ordering::Relaxed);
    held[3].tally(Tally::ProvisionedMissed);
    let text = exposed(&metrics);
    let own = |function: &str| format!("tenant=\"acme\",app=\"shop\",function=\"{function}\"");
    let merged = "tenant=\"acme\",app=\"_merged\",function=\"_merged\"";
    for line in [
        format!("lacewing_invocations_total{{outcome=\"trap\",{}}} 1", own("a")),
        format!("lacewing_invocations_total{{outcome=\"trap\",{}}} 1", own("b")),
        format!("lacewing_invocations_total{{outcome=\"trap\",{merged}}} 3"),
        format!("lacewing_invocation_input_bytes_total{{{merged}}} 15"),
        format!("lacewing_invocation_duration_seconds_count{{{merged}}} 3"),
        format!("lacewing_provisioned_ready{{{merged}}} 7"),
        format!("lacewing_provisioned_missed_total{{{merged}}} 1"),
        format!("lacewing_function_info{{revision=\"r1\",{}}} 1", own("b")),
        "lacewing_tenant_invocations_total{outcome=\"trap\",tenant=\"acme\"} 5".to_owned(),
        "lacewing_tenant_functions_merged{tenant=\"acme\"} 3".to_owned(),
        "lacewing_tenant_program_loads_total{tenant=\"acme\"} 5".to_owned(),
        "lacewing_functions 5".to_owned(),
    ] {
        assert_has(&text, &line);
    }
    for name in ["c", "d", "e"] {
        assert!(!text.contains(&own(name)), "{name} in {text}");
    }
    "_merged".parse::<lacewing_base::name::FunctionName>().unwrap_err();
}

/// However many functions there are, a scrape has lines for so many, and none of its pieces is
/// large.
#[test]
fn a_scrape_is_bounded_and_in_pieces() {
    let metrics = Arc::new(Metrics::with_series(100));
    let share = Weight::new(1);
    let held: Vec<_> =
        (0..3_000).map(|n| metrics.function(key(&format!("f{n}")), &share)).collect();
    held.iter().for_each(|function| function.observe(Outcome::Ok, &Usage::default()));
    let mut scrape = Scrape::new(metrics.clone(), Exposition::Prometheus);
    let pieces: Vec<String> = std::iter::from_fn(|| scrape.piece()).collect();
    let bytes: usize = pieces.iter().map(String::len).sum();
    assert!((200_000..900_000).contains(&bytes), "{bytes}: some 7 KiB for each of 101");
    assert!(pieces.len() > 8, "{}", pieces.len());
    for piece in &pieces {
        assert!(piece.len() < 80 << 10 && piece.ends_with('\n'), "{}", piece.len());
    }
    let text: String = pieces.concat();
    assert!(!text.contains("# EOF"), "that is no part of this format");
    assert_eq!(text.matches("# TYPE lacewing_invocations_total counter").count(), 1);
}

/// Scrapes take turns, and one that is not read holds nothing that another needs.
#[tokio::test]
async fn a_scrape_that_is_not_read_keeps_no_other_waiting() {
    use http_body_util::BodyExt;
    let metrics = Arc::new(Metrics::new());
    let share = Weight::new(1);
    let held: Vec<_> = (0..200).map(|n| metrics.function(key(&format!("f{n}")), &share)).collect();
    held.iter().for_each(|function| function.observe(Outcome::Ok, &Usage::default()));
    let mut begun = Vec::new();
    for _ in 0..50 {
        let mut slow = metrics.scrape(Exposition::OpenMetrics);
        slow.frame().await.unwrap().unwrap();
        begun.push(slow);
    }
    let whole = metrics.scrape(Exposition::OpenMetrics).collect().await.unwrap().to_bytes();
    assert!(whole.ends_with(b"# EOF\n") && whole.len() > 1 << 20, "{}", whole.len());
    for slow in begun {
        assert!(slow.collect().await.unwrap().to_bytes().ends_with(b"# EOF\n"));
    }
}
