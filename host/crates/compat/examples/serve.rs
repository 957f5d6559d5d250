use lacewing_base::Access;
use lacewing_compat::s3::*;
use lacewing_store::{StateStore, embedded::*};
use std::sync::Arc;
struct Keys(Arc<EmbeddedStore>);
impl S3Keys for Keys {
    fn find(&self, k: &str) -> Option<S3Key> {
        let (tenant, secret) = match k {
            "AKMAIN00000000000000" => ("main", "secretmain"),
            "AKALT000000000000000" => ("alt", "secretalt"),
            "AKTENANT000000000000" => ("tenant", "secrettenant"),
            _ => return None,
        };
        let t = tenant.parse().unwrap();
        Some(S3Key {
            secret: secret.into(),
            state: self.0.tenant(&t, u64::MAX),
            tenant: t,
            declared: vec![],
            buckets: None,
            access: Access::ReadWrite,
        })
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let store = Arc::new(EmbeddedStore::open(a[1].as_ref(), EmbeddedOptions::default()).unwrap());
    let l = S3Listener::start(a[2].parse().unwrap(), Arc::new(Keys(store)), S3Bounds::default())
        .unwrap();
    println!("{}", l.address());
    loop {
        std::thread::park()
    }
}
