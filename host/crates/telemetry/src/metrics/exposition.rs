//! The two text formats that scrapers ask for.

use std::fmt::Write as _;

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own, 0.0.4: what is meant where nothing is asked for.
    Prometheus,
}

impl Exposition {
    /// The format for a request's `Accept`: OpenMetrics only for clients that name it.
    pub fn negotiate(accept: Option<&str>) -> Exposition {
        let named = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let refused = parts.any(|part| {
                part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
            });
            media_type.eq_ignore_ascii_case("application/openmetrics-text") && !refused
        };
        if accept.is_some_and(|accept| accept.split(',').any(named)) {
            Exposition::OpenMetrics
        } else {
            Exposition::Prometheus
        }
    }

    /// The value for `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Exposition::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Rewrites OpenMetrics for a parser of Prometheus' format. There a counter's family has its
/// samples' name, with `_total`; an info is a gauge named `…_info`; there are no units and there is
/// no end mark.
pub(super) fn to_prometheus_text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            help = text.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (family, kind) = typed.split_once(' ').unwrap_or((typed, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            // Infallible: writing to a string does not fail.
            let _ = writeln!(out, "# HELP {family}{suffix} {help}");
            let _ = writeln!(out, "# TYPE {family}{suffix} {kind}");
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_clients_that_name_it() {
        for (accept, expected) in [
            (None, Exposition::Prometheus),
            (Some("*/*"), Exposition::Prometheus),
            (Some("text/plain;version=0.0.4;q=0.5"), Exposition::Prometheus),
            (Some("application/openmetrics-text;q=0"), Exposition::Prometheus),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.2,*/*;q=0.1",
                ),
                Exposition::OpenMetrics,
            ),
            (Some("text/plain, Application/OpenMetrics-Text"), Exposition::OpenMetrics),
        ] {
            assert_eq!(Exposition::negotiate(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn prometheus_text_names_families_as_their_samples() {
        let open_metrics = "\
# HELP a_cpu_seconds Some help.
# TYPE a_cpu_seconds counter
# UNIT a_cpu_seconds seconds
a_cpu_seconds_total{x=\"y\"} 1
# HELP a_build B.
# TYPE a_build info
a_build_info{v=\"1\"} 1
# HELP a_d_seconds D.
# TYPE a_d_seconds histogram
# UNIT a_d_seconds seconds
a_d_seconds_sum 1.0
# EOF
";
        assert_eq!(
            to_prometheus_text(open_metrics),
            "\
# HELP a_cpu_seconds_total Some help.
# TYPE a_cpu_seconds_total counter
a_cpu_seconds_total{x=\"y\"} 1
# HELP a_build_info B.
# TYPE a_build_info gauge
a_build_info{v=\"1\"} 1
# HELP a_d_seconds D.
# TYPE a_d_seconds histogram
a_d_seconds_sum 1.0
"
        );
    }
}
