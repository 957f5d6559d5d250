//! The cost of interruption to a guest that computes.
//!
//! Method: five programs, the same code natively and as one guest, which is instantiated once for
//! each profile: without instrumentation, with epochs (the host's default; the epoch ticks every
//! millisecond, and the guest yields), and with fuel on top. One iteration is one call, which makes
//! its data and then ten rounds of the program, so that making it does not count for
//! much. The guest's result is compared with the program's native result. Baseline: uninstrumented.
//!
//! Command: `cargo bench -p lacewing-benches --bench compute`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lacewing_bench_guests::Program;
use lacewing_benches::{
    guest::{self, Layout},
    profiles::{Compute, Instrumented},
    runtime,
};

/// Rounds of work in one call.
const WORK: u32 = 10;

fn compute(criterion: &mut Criterion) {
    let runtime = runtime();
    let component = guest::guest("compute", Layout::Lean);
    for program in Program::ALL {
        let mut group = criterion.benchmark_group(format!("compute/{}", program.name()));
        group.sample_size(20);
        group.bench_function("native", |bencher| {
            bencher.iter(|| black_box(program).run(black_box(WORK)));
        });
        for how in Instrumented::ALL {
            let guest = runtime.block_on(Compute::new(&component, how));
            let mut guest = guest.unwrap_or_else(|error| panic!("{error:#}"));
            let found = runtime.block_on(guest.run(program, WORK));
            let found = found.unwrap_or_else(|error| panic!("{error:#}"));
            assert_eq!(found, program.run(WORK), "{} computes something else", program.name());
            group.bench_function(BenchmarkId::from_parameter(how.name()), |bencher| {
                bencher.iter(|| {
                    let found = runtime.block_on(guest.run(program, WORK));
                    found.unwrap_or_else(|error| panic!("{error:#}"))
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, compute);
criterion_main!(benches);
