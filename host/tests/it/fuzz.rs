//! The seeds of the fuzz targets in `fuzz/`, through their targets. Only those that take generated
//! modules are left to the fuzzer.

#[path = "../../fuzz/targets/fold.rs"]
mod fold;
#[path = "../../fuzz/targets/inspection.rs"]
mod inspection;
#[path = "../../fuzz/targets/listener.rs"]
mod listener;
#[path = "../../fuzz/targets/manifest.rs"]
mod manifest;
#[path = "../../fuzz/targets/pipe.rs"]
mod pipe;
#[path = "../../fuzz/targets/request.rs"]
mod request;
#[path = "../../fuzz/targets/response.rs"]
mod response;
#[path = "../../fuzz/targets/router.rs"]
mod router;
#[path = "../../fuzz/targets/script.rs"]
mod script;
#[path = "../../fuzz/targets/storm.rs"]
mod storm;
#[path = "../../fuzz/targets/upstream.rs"]
mod upstream;
#[path = "../../fuzz/targets/wire.rs"]
mod wire;

use std::fs;

use crate::harness::root;

/// The function that a fuzzer calls with bytes.
type Run = fn(&[u8]);

#[test]
fn every_seed_passes_its_target() {
    let targets: [(&str, Run); 9] = [
        ("fold", fold::run),
        ("inspection", inspection::run),
        ("listener", listener::run),
        ("manifest", manifest::run),
        ("request", request::run),
        ("response", response::run),
        ("router", router::run),
        ("storm", storm::run),
        ("upstream", upstream::run),
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
