"""Makes certificates for 127.0.0.1 and localhost: certificates.py FOLDER. An authority ca.pem, and from it good.pem, other.pem,
expired.pem and wronghost.pem; selfsigned.pem is its own. Each NAME.pem has NAME.key; good.key comes in other forms too."""
import datetime
import ipaddress
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

folder = pathlib.Path(sys.argv[1])
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()
PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL


def name_of(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def put(name, data):
    (folder / name).write_bytes(data)


def make(name, key, issuer=None, begin=NOW - DAY, end=NOW + DAY, hosts=("localhost",), addresses=("127.0.0.1",), authority=False):
    builder = x509.CertificateBuilder().subject_name(name_of(name)).public_key(key.public_key())
    builder = builder.issuer_name(issuer[0].subject if issuer else name_of(name))
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    signer = issuer[1] if issuer else key
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    if not authority:
        names = [x509.DNSName(host) for host in hosts]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    put(f"{name}.pem", certificate.public_bytes(PEM))
    put(f"{name}.key", key.private_bytes(PEM, PKCS8, PLAIN))
    return certificate, key


ca = make("ca", ec.generate_private_key(ec.SECP256R1()), authority=True, end=NOW + 2 * DAY)
_, key = make("good", rsa.generate_private_key(65537, 2048), ca)
put("good-pkcs1.key", key.private_bytes(PEM, TRADITIONAL, PLAIN))
put("good-encrypted.key", key.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"open sesame")))
put("good-legacy.key", key.private_bytes(PEM, TRADITIONAL, serialization.BestAvailableEncryption(b"open sesame")))
_, key = make("other", ec.generate_private_key(ec.SECP256R1()), ca)
put("other-sec1.key", key.private_bytes(PEM, TRADITIONAL, PLAIN))
make("expired", ec.generate_private_key(ec.SECP256R1()), ca, begin=NOW - 3 * DAY, end=NOW - DAY)
make("wronghost", ec.generate_private_key(ec.SECP256R1()), ca, hosts=("elsewhere.example.org",), addresses=("192.0.2.1",))
certificate, _ = make("selfsigned", ec.generate_private_key(ec.SECP256R1()))
put("selfsigned.sha256", certificate.fingerprint(hashes.SHA256()).hex().encode())
