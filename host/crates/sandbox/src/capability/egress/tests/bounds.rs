//! The operator's bounds, and the admin listener that is out of reach.

use lacewing_base::EgressBounds;

use super::*;

fn bounds(networks: &[&str], hosts: Option<&[&str]>) -> EgressBounds {
    let hosts = hosts.map(|hosts| hosts.iter().map(|host| host.parse().unwrap()).collect());
    EgressBounds { networks: networks.iter().map(|text| text.parse().unwrap()).collect(), hosts }
}

/// Grants that lead anywhere, as far as a manifest can say.
fn everywhere(names: &[(&str, &[&str])]) -> Setup {
    let policy = policy(&["*://*:*"], &["0.0.0.0/0", "::/0"]);
    Setup::new(options(names), policy, EgressLimits { requests: 1000, ..limits() })
}

#[tokio::test]
async fn a_granted_target_is_reached_as_far_as_the_operator_allows() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let mut setup = everywhere(&[("api.test", &["127.0.0.1"])]);
    let by_address = format!("http://127.0.0.1:{}/", server.port());
    let by_name = format!("http://api.test:{}/", server.port());
    setup.set_bounds(EgressBounds::default());
    for uri in [&by_address, &by_name] {
        assert_code!(setup.fetch(get(uri)).await, Code::DestinationIpProhibited);
    }
    let said = setup.said();
    let sentence = "is refused: 127.0.0.1 is a loopback address, and the operator of this host does not allow it; egress.networks = [\"127.0.0.1/32\"] in the host file allows it";
    assert!(said.iter().all(|line| line.ends_with(sentence)), "{said:?}");
    // A reload holds for invocations that were there before, whether it allows more or less.
    setup.set_bounds(bounds(&["127.0.0.0/8"], None));
    for uri in [&by_address, &by_name] {
        assert_eq!(setup.fetch(get(uri)).await.unwrap().1.unwrap(), "hello");
    }
    setup.set_bounds(bounds(&["10.0.0.0/8"], None));
    for uri in [&by_address, &by_name] {
        assert_code!(setup.fetch(get(uri)).await, Code::DestinationIpProhibited);
    }
}

#[tokio::test]
async fn a_network_of_one_tenant_is_not_allowed_to_another() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let uri = format!("http://127.0.0.1:{}/", server.port());
    let mut setup = everywhere(&[]);
    let mut neighbour = setup.neighbour(policy(&["*://*:*"], LOOPBACK));
    setup.set_bounds(EgressBounds::default());
    neighbour.set_bounds(bounds(LOOPBACK, None));
    assert_code!(setup.fetch(get(&uri)).await, Code::DestinationIpProhibited);
    assert_eq!(neighbour.fetch(get(&uri)).await.unwrap().1.unwrap(), "hello");
}

#[tokio::test]
async fn every_special_address_takes_the_operators_leave() {
    let mut setup = everywhere(&[("meta.test", &["169.254.169.254", "::ffff:10.0.0.1"])]);
    // The translator is allowed, and what lies behind it is not.
    setup.set_bounds(bounds(&["64:ff9b::/96"], None));
    for host in [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "meta.test",
    ] {
        let uri = format!("http://{host}/");
        assert_code!(setup.fetch(get(&uri)).await, Code::DestinationIpProhibited);
    }
}

#[tokio::test]
async fn a_host_that_the_operator_does_not_name_is_not_looked_up() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let mut setup = everywhere(&[("api.test", &["127.0.0.1"]), ("b.test", &["127.0.0.1"])]);
    setup.set_bounds(bounds(LOOPBACK, Some(&["api.test", "*.b.test"])));
    let uri = |host: &str| format!("http://{host}:{}/", server.port());
    assert_eq!(setup.fetch(get(&uri("API.test"))).await.unwrap().1.unwrap(), "hello");
    for host in ["b.test", "127.0.0.1", "api.test.b", "unknown.test"] {
        assert_code!(setup.fetch(get(&uri(host))).await, Code::HttpRequestDenied);
    }
    let said = setup.said();
    assert!(
        said[0].ends_with("is refused: the operator allows only the hosts that egress.hosts of the host file names"),
        "{said:?}"
    );
}

#[tokio::test]
async fn the_admin_listener_is_out_of_reach_whatever_is_granted() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let (other, _heads) = LoopbackServer::answering(HELLO).await;
    let mut setup = everywhere(&[("api.test", &["127.0.0.1"]), ("any.test", &["0.0.0.0"])]);
    setup.egress.keep_from(server.address);
    for host in [
        "127.0.0.1",
        "127.0.0.2",
        "127.255.255.254",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::ffff:0:0]",
        "[::]",
        "api.test",
        "any.test",
    ] {
        let uri = format!("http://{host}:{}/metrics", server.port());
        assert_code!(setup.fetch(get(&uri)).await, Code::DestinationIpProhibited);
    }
    assert!(
        setup.said()[0].ends_with("is refused: at 127.0.0.1 is the admin listener of this host")
    );
    let uri = format!("http://127.0.0.1:{}/", other.port());
    assert_eq!(setup.fetch(get(&uri)).await.unwrap().1.unwrap(), "hello");
}

/// The machine's own address in a network, where it has one, is as much this machine as the
/// loopback is.
#[test]
fn whatever_a_socket_can_be_bound_to_is_this_machine() {
    use super::super::connect::is_local;
    for address in ["127.0.0.1", "127.1.2.3", "0.0.0.0"] {
        assert!(is_local(address.parse().unwrap()), "{address}");
    }
    // An address for documentation is no machine's, and a route to it tells the one that packets
    // would leave from.
    let elsewhere = "192.0.2.1";
    assert!(!is_local(elsewhere.parse().unwrap()));
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect((elsewhere, 9)).is_ok() {
        assert!(is_local(socket.local_addr().unwrap().ip()));
    }
}
