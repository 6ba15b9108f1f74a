//! rsyslogd with a configuration of its own, which writes the messages that it receives to a file.

use std::fs;
use std::process::{Command, Stdio};

use super::{Authority, Running, daemon};
use crate::wait_for;

/// A running daemon; see the module.
#[derive(Debug)]
pub struct Rsyslogd {
    /// Fields are dropped in this order: the daemon is killed before its folder is removed.
    _process: Running,
    /// The authority whose certificate `server` the daemon shows. The daemon's files are in the same folder.
    pub authority: Authority,
}

impl Rsyslogd {
    /// Input over TCP.
    pub const TCP: &str =
        r#"module(load="imtcp") input(type="imtcp" port="0" listenPortFileName="FOLDER/port")"#;
    /// Input over TLS, from clients with a certificate of the same authority.
    pub const TLS: &str = r#"
        module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
        input(type="imtcp" port="0" listenPortFileName="FOLDER/port")"#;
    /// Input from the socket `log` in its folder.
    pub const SOCKET: &str =
        r#"module(load="imuxsock" SysSock.Use="off") input(type="imuxsock" Socket="FOLDER/log")"#;

    /// Starts the daemon with one of these inputs. Returns nothing, and reports the test as skipped, if it is not
    /// installed.
    #[must_use]
    pub fn start(input: &str) -> Option<Self> {
        let program = daemon("rsyslogd")?;
        let authority = Authority::new();
        authority.sign("server");
        let at = authority.folder().display().to_string();
        let configuration = format!(
            r#"global(workDirectory="{at}" DefaultNetstreamDriverCAFile="{at}/ca.pem"
                DefaultNetstreamDriverCertFile="{at}/server.pem" DefaultNetstreamDriverKeyFile="{at}/server.key")
            template(name="all" type="string"
                string="%syslogfacility-text%.%syslogseverity-text%|%app-name%|%hostname%|%timereported:::date-rfc3339%|%structured-data%|%msg%\n")
            {}
            action(type="omfile" file="{at}/got" template="all")
            "#,
            input.replace("FOLDER", &at)
        );
        let file = authority.path("rsyslog.conf");
        fs::write(&file, configuration).unwrap();
        let process = Command::new(program)
            .args(["-n", "-i", "NONE", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self {
            _process: Running(process),
            authority,
        })
    }

    /// Waits for the port at localhost that the daemon has chosen.
    #[must_use]
    pub fn port(&self) -> u16 {
        wait_for("rsyslogd's port", || {
            let port = fs::read_to_string(self.authority.path("port")).ok()?;
            port.trim().parse().ok()
        })
    }

    /// The messages that it received: `facility.severity|program|host|time|structured data|message`.
    #[must_use]
    pub fn received(&self) -> Vec<String> {
        let text = fs::read_to_string(self.authority.path("got")).unwrap_or_default();
        // The last line can still be incomplete.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }
}
