//! `lacewing bucket`: objects of buckets, in a state directory or of a running host.

pub(super) mod objects;

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use clap::{Args, Subcommand, ValueHint};
use lacewing_base::name::TenantName;
use lacewing_control::{BucketDocument, BucketPage, ObjectDocument};
use lacewing_telemetry::{displayed, rfc3339};

use self::objects::OpenBucket;
use super::{
    Error, ExitCode,
    console::Console,
    place::{PlaceArgs, use_of},
    print_bytes, print_result,
};

const EXAMPLES: &str = "\
Examples:
  lacewing bucket list                          the buckets of the app in this directory
  lacewing bucket list site css/                the objects whose keys begin so
  lacewing bucket put site index.html index.html --content-type text/html
  pg_dump shop | lacewing bucket put site shop.sql -
  lacewing bucket get site index.html           to standard output
  lacewing bucket get site shop.sql copy.sql
  lacewing bucket list shop.site --host host.toml --tenant acme
  lacewing bucket list shop.site --url http://127.0.0.1:9180 --tenant acme

A bucket is NAME of the app, or what clients of S3 say: APP.NAME, or the name of a bucket that a
client has made. A host that has the state open does the work, through its admin listener.";

/// Arguments of `bucket`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BucketArgs {
    #[command(subcommand)]
    command: BucketCommand,
}

#[derive(Debug, Subcommand)]
enum BucketCommand {
    /// Print the buckets, and what each uses of its quota; or the objects of one.
    List {
        /// The bucket whose objects are listed, each with its time and its size in bytes.
        bucket: Option<String>,
        /// Only objects whose keys begin so.
        #[arg(default_value = "")]
        prefix: String,
        /// Where they are.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Set an object.
    Put {
        /// The bucket and the key.
        #[command(flatten)]
        object: ObjectArgs,
        /// The file with the body, or `-` for standard input.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// The media type of the object, such as `text/html`.
        #[arg(long, value_name = "TYPE")]
        content_type: Option<String>,
        /// Where the bucket is.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Write the body of an object to a file.
    Get {
        /// The bucket and the key.
        #[command(flatten)]
        object: ObjectArgs,
        /// The file [default: standard output]
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Where the bucket is.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Remove an object.
    Remove {
        /// The bucket and the key.
        #[command(flatten)]
        object: ObjectArgs,
        /// Where the bucket is.
        #[command(flatten)]
        place: PlaceArgs,
    },
}

#[derive(Debug, Args)]
struct ObjectArgs {
    /// The bucket: NAME, or APP.NAME with `--host` or `--url`.
    bucket: String,
    /// The key.
    key: String,
}

pub(super) fn run(args: &BucketArgs, console: &Console) -> Result<ExitCode, Error> {
    match &args.command {
        BucketCommand::List { bucket: None, place, .. } => {
            print_buckets(objects::buckets(place, console)?)?;
        }
        BucketCommand::List { bucket: Some(bucket), prefix, place } => {
            OpenBucket::open(place, bucket, console)?.list(prefix, print_objects)?;
        }
        BucketCommand::Put { object: ObjectArgs { bucket, key }, file, content_type, place } => {
            let source = source(file)?;
            OpenBucket::open(place, bucket, console)?.put(key, content_type.as_deref(), source)?;
        }
        BucketCommand::Get { object: ObjectArgs { bucket, key }, file, place } => {
            let opened = OpenBucket::open(place, bucket, console)?;
            let mut target = Target { path: file.as_deref(), file: None };
            let is_there = opened.get(key, &mut |bytes| target.write(bytes));
            let is_there = is_there.map_err(|error| target.is_cut(error))?;
            // A body without a byte is a file, too.
            if !is_there {
                return Err(opened.no_object(key));
            }
            target.write(&[])?;
        }
        BucketCommand::Remove { object: ObjectArgs { bucket, key }, place } => {
            let opened = OpenBucket::open(place, bucket, console)?;
            if !opened.remove(key)? {
                return Err(opened.no_object(key));
            }
        }
    }
    Ok(ExitCode::Success)
}

/// One line for each bucket, and one for all that the tenant has.
fn print_buckets((tenant, pages): (TenantName, Vec<BucketPage>)) -> Result<(), Error> {
    for page in pages {
        for BucketDocument { name, objects, used_bytes, max_bytes, .. } in page.buckets {
            let objects = match objects {
                1 => "1 object".to_owned(),
                objects => format!("{objects} objects"),
            };
            print_result(&format!("{name}: {objects}, {}\n", use_of(used_bytes, max_bytes)))?;
        }
        if page.next.is_none() {
            print_result(&format!("{tenant}: {}\n", use_of(page.used_bytes, page.max_bytes)))?;
        }
    }
    Ok(())
}

/// One line for each object.
fn print_objects(objects: &[ObjectDocument]) -> Result<(), Error> {
    let line = |ObjectDocument { key, bytes, modified_ms, .. }: &ObjectDocument| {
        let since = Duration::from_millis(u64::try_from(*modified_ms).unwrap_or_default());
        format!("{}  {bytes:>12}  {}\n", rfc3339(UNIX_EPOCH + since), displayed(key))
    };
    print_result(&objects.iter().map(line).collect::<String>())
}

/// The bytes of a new object.
fn source(path: &Path) -> Result<Box<dyn Read + Send>, Error> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(path).map_err(|error| of_file("read", path, &error))?))
}

/// The file that a body goes to, which is made when its first bytes are there.
struct Target<'a> {
    /// `None` for standard output.
    path: Option<&'a Path>,
    file: Option<File>,
}

impl Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(path) = self.path else { return print_bytes(bytes) };
        let failed = |error| of_file("write", path, &error);
        if self.file.is_none() {
            self.file = Some(File::create(path).map_err(failed)?);
        }
        let written = self.file.iter_mut().try_for_each(|file| file.write_all(bytes));
        written.map_err(failed)
    }

    /// The error of a body that breaks off.
    fn is_cut(&self, error: Error) -> Error {
        match (self.path, &self.file) {
            (Some(path), Some(_)) => {
                Error::State(format!("{} has a part of the object only: {error}", path.display()))
            }
            _ => error,
        }
    }
}

fn of_file(verb: &str, path: &Path, error: &io::Error) -> Error {
    let text = format!("cannot {verb} {}: {error}", path.display());
    Error::Input(io::Error::new(error.kind(), text))
}
