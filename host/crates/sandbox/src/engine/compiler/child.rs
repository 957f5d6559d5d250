//! The compiler's side: limits itself, reads one component, answers, and ends.

use std::io::{self, BufReader};

use super::{
    emit, jail,
    protocol::{CompilerReply, Jail, ReplyKind, Request, read_bytes, read_line, send},
    shown,
};

/// The one argument with which `lacewing` is its own compiler. Not for people, and so not among its
/// commands.
pub const ARGUMENT: &str = "--compiler-of-the-host";

/// Compiles what standard input brings, and says on standard output what came of it.
///
/// # Errors
/// Whoever asked is gone, or was never there.
pub fn child() -> io::Result<()> {
    jail::close_inherited();
    let stepped_back = jail::step_back();
    let mut input = BufReader::new(io::stdin().lock());
    let request: Request = read_line(&mut input)?;
    let limited = stepped_back.and_then(|()| jail::limit(request.memory_bytes, request.cpu_s));
    if let Err(error) = limited {
        return reply(ReplyKind::Unlimited, Jail::default(), error.to_string().as_bytes());
    }
    let mut config = request.profile().config();
    // One thread needs no pool of them. More are as many as the environment says, where the host
    // has put it.
    config.parallel_compilation(request.threads > 1);
    let engine = wasmtime::Engine::new(&config);
    let landlocked = jail::landlock();
    let filtered = jail::filter(request.threads);
    let jail = Jail { landlocked, filtered };
    let component = read_bytes(&mut input, request.component_bytes)?;
    match engine.and_then(|engine| emit(&engine, &component)) {
        Ok(artifact) => reply(ReplyKind::Artifact, jail, &artifact),
        Err(error) if is_out_of_memory(&error) => reply(ReplyKind::Memory, jail, &[]),
        Err(error) => reply(ReplyKind::Invalid, jail, shown(format!("{error:#}")).as_bytes()),
    }
}

fn reply(result: ReplyKind, jail: Jail, bytes: &[u8]) -> io::Result<()> {
    let lacewing = env!("CARGO_PKG_VERSION").to_owned();
    let line = CompilerReply { lacewing, result, jail, bytes: bytes.len() as u64 };
    send(&mut io::stdout().lock(), &line, bytes)
}

fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    let refused = |cause: &io::Error| cause.kind() == io::ErrorKind::OutOfMemory;
    error.is::<wasmtime::error::OutOfMemory>()
        || error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(refused))
}
