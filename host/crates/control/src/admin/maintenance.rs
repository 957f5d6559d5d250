//! Operations on whole databases: a check, and a backup.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use http::{Method, StatusCode};
use lacewing_base::name::TenantName;
use lacewing_store::embedded::BackupError;

use super::{
    ControlApi,
    documents::{Backup, BackupOrder, Check, CheckedStore},
    operation::{
        Answer, Call, Content, Handler, Operation, Parameter, ParameterKind, Refusal, Success,
        TurnKind, schema,
    },
};

/// The largest order of a backup, in bytes.
const ORDER_BYTES: usize = 16 << 10;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: Method::POST,
        path: "/v1/tenants/{tenant}/checks",
        id: "checkTenant",
        summary: "Reads all state of a tenant, and answers with its sizes and faults.",
        parameters: &[Parameter::path("tenant", ParameterKind::Name, "The tenant.")],
        content: Content::Empty,
        answers: &[Success {
            status: 200,
            description: "The sizes, and the faults.",
            content: Content::Json { max: 0, schema: schema::<Check> },
            fields: &[],
        }],
        refusals: &[404],
        turns: TurnKind::Whole,
        handler: Handler::Whole(check),
    },
    Operation {
        method: Method::POST,
        path: "/v1/backups",
        id: "createBackup",
        summary: "Copies the state into an empty directory, and answers when the copy is complete.",
        parameters: &[],
        content: Content::Json { max: ORDER_BYTES, schema: schema::<BackupOrder> },
        answers: &[Success {
            status: 201,
            description: "The copy is complete, and on the disk.",
            content: Content::Json { max: 0, schema: schema::<Backup> },
            fields: &[],
        }],
        refusals: &[404, 409, 415, 507],
        turns: TurnKind::Whole,
        handler: Handler::Whole(back_up),
    },
];

fn check(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let tenant = api.tenant(call.part(0))?;
    if tenant.is_empty {
        let check = Check { stores: Vec::new(), faults: Vec::new() };
        return Ok(Answer::document(StatusCode::OK, &check));
    }
    let check = match api.store()?.inspect(&tenant.name, &call.stopper) {
        Ok(found) => Check {
            stores: found
                .stores
                .into_iter()
                .map(|used| CheckedStore { id: used.id, entries: used.entries, bytes: used.bytes })
                .collect(),
            faults: found.faults,
        },
        // A database that cannot be opened is what a check is to find.
        Err(error) => Check { stores: Vec::new(), faults: vec![error.to_string()] },
    };
    Ok(Answer::document(StatusCode::OK, &check))
}

fn back_up(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let order: BackupOrder = call.document()?;
    let store = api.store()?;
    let tenants: Vec<TenantName> = match &order.tenant {
        Some(name) => vec![api.tenant(name)?.name],
        None => store.tenants().map_err(|error| {
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the state cannot be read: {error}"),
            )
        })?,
    };
    let tenants: Vec<_> = tenants.into_iter().filter(|tenant| store.has_state(tenant)).collect();
    let directory = Path::new(&order.directory);
    belongs_to_the_host(directory)?;
    store.back_up(&tenants, directory, &call.stopper)?;
    let tenants = tenants.iter().map(ToString::to_string).collect();
    let backup = Backup { directory: order.directory, tenants };
    Ok(Answer::document(StatusCode::CREATED, &backup))
}

/// Whether a directory is there, and the host's user has made it. So a token is no permission to
/// make files wherever the host may.
fn belongs_to_the_host(directory: &Path) -> Result<(), Refusal> {
    if !directory.is_absolute() || directory.as_os_str().as_encoded_bytes().contains(&0) {
        let detail = "`directory` is to be an absolute path on the host's machine";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
    }
    let shown = directory.display();
    let refuse = |status, why: &str| Err(Refusal::new(status, format!("{shown} {why}")));
    match fs::symlink_metadata(directory) {
        Ok(found) if !found.is_dir() => refuse(StatusCode::CONFLICT, "is no directory"),
        Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => refuse(
            StatusCode::CONFLICT,
            "belongs to another user than the host: make the directory as the host's user",
        ),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => refuse(
            StatusCode::NOT_FOUND,
            "is not there: make an empty directory for the backup first",
        ),
        Err(error) => {
            refuse(StatusCode::CONFLICT, &format!("cannot be looked at by the host: {error}"))
        }
    }
}

impl From<BackupError> for Refusal {
    fn from(error: BackupError) -> Refusal {
        let status = match &error {
            BackupError::NotEmpty { .. } | BackupError::Inside { .. } => StatusCode::CONFLICT,
            BackupError::System { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            // The operator named the directory.
            BackupError::System { .. } => StatusCode::CONFLICT,
            BackupError::Store { error, .. } => Refusal::from(error.clone()).status,
        };
        Refusal::new(status, error.to_string())
    }
}
