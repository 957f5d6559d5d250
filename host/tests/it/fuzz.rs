//! The seeds of the fuzz targets in `fuzz/`, through their targets. Only those that take generated modules are left to the fuzzer.

#[path = "../../fuzz/targets/inspection.rs"]
mod inspection;
#[path = "../../fuzz/targets/manifest.rs"]
mod manifest;
#[path = "../../fuzz/targets/request.rs"]
mod request;
#[path = "../../fuzz/targets/response.rs"]
mod response;
#[path = "../../fuzz/targets/router.rs"]
mod router;

use std::fs;

use crate::harness::root;

/// What a fuzzer calls with bytes.
type Run = fn(&[u8]);

#[test]
fn every_seed_passes_its_target() {
    let targets: [(&str, Run); 5] = [
        ("inspection", inspection::run),
        ("manifest", manifest::run),
        ("request", request::run),
        ("response", response::run),
        ("router", router::run),
    ];
    for (target, run) in targets {
        let folder = root().join("host/fuzz/seeds").join(target);
        let seeds: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|seed| seed.unwrap().path()).collect();
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            println!("{}", seed.display());
            run(&fs::read(&seed).unwrap());
        }
    }
}
