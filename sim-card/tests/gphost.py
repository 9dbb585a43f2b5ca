"""A GlobalPlatform host: SCP03 from the specification, with OpenSSL's AES through ctypes."""
import ctypes
import ctypes.util
import os


class Aes:
    """Blocks, CBC and CMAC under one key."""
    lib = ctypes.CDLL(ctypes.util.find_library("crypto"))
    lib.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
    for _name in ("EVP_aes_128_cbc", "EVP_aes_192_cbc", "EVP_aes_256_cbc"):
        getattr(lib, _name).restype = ctypes.c_void_p

    def __init__(self, key):
        self.key = bytes(key)
        self.cipher = getattr(self.lib, "EVP_aes_%d_cbc" % (8 * len(key)))()

    def cbc(self, data, iv=bytes(16), encrypt=True):
        ctx = ctypes.c_void_p(self.lib.EVP_CIPHER_CTX_new())
        out, n = ctypes.create_string_buffer(len(data) + 16), ctypes.c_int()
        ok = self.lib.EVP_CipherInit_ex(ctx, ctypes.c_void_p(self.cipher), None, self.key, iv, int(encrypt))
        self.lib.EVP_CIPHER_CTX_set_padding(ctx, 0)
        ok = ok and self.lib.EVP_CipherUpdate(ctx, out, ctypes.byref(n), data, len(data))
        self.lib.EVP_CIPHER_CTX_free(ctx)
        assert ok == 1
        return out.raw[:n.value]

    def cmac(self, data):
        def double(block):
            v = int.from_bytes(block, "big") << 1
            return ((v & (1 << 128) - 1) ^ (0x87 if v >> 128 else 0)).to_bytes(16, "big")
        key = double(self.cbc(bytes(16)))
        if not data or len(data) % 16:
            key = double(key)
            data += b"\x80" + bytes(-(len(data) + 1) % 16)
        last = bytes(a ^ b for a, b in zip(data[-16:], key))
        return self.cbc(data[:-16] + last)[-16:]

    def kcv(self):
        return self.cbc(b"\x01" * 16)[:3]


def derive(key, what, bits, context):
    out = b""
    for i in range(1, (bits + 127) // 128 + 1):
        out += Aes(key).cmac(bytes(11) + bytes((what, 0)) + bits.to_bytes(2, "big") + bytes((i,)) + context)
    return out[:bits // 8]


def lv(data):
    return bytes((len(data),)) + data


class Refused(Exception):
    def __init__(self, sw):
        super().__init__("%04X" % sw)
        self.sw = sw


class Host:
    """Sessions with one domain on one channel of a card; transmit takes and gives bytes."""
    ISSUER = bytes.fromhex("A000000151000000")
    TEST_KEY = bytes(range(0x40, 0x50))

    def __init__(self, transmit, channel=0):
        self.transmit, self.channel, self.level = transmit, channel, None
        self.aid = self.ISSUER

    def raw(self, cla, ins, p1, p2, data=b"", le=True):
        """What the card answers, 61xx fetched, as data and status word."""
        head = bytes((cla | self.channel, ins, p1, p2))
        answer = self.transmit(head + (lv(data) if data else b"") + (b"\0" if le else b""))
        data, sw = answer[:-2], answer[-2:]
        while sw[0] == 0x61:
            answer = self.transmit(bytes((self.channel, 0xC0, 0, 0, sw[1])))
            data, sw = data + answer[:-2], answer[-2:]
        return data, int.from_bytes(sw, "big")

    def select(self, aid=ISSUER):
        self.aid, self.level = aid, None
        self.good(*self.raw(0, 0xA4, 4, 0, aid))

    @staticmethod
    def good(data, sw):
        if sw != 0x9000 and sw >> 8 != 0x63:
            raise Refused(sw)
        return data

    def open(self, level=0x33, keys=(TEST_KEY,) * 3, version=0x30):
        host = os.urandom(8)
        self.level = None
        answer = self.good(*self.raw(0x80, 0x50, version, 0, host))
        assert len(answer) == 32 and answer[11:13] == b"\x03\x70", answer.hex()
        card, context = answer[13:21], host + answer[13:21]
        bits = 8 * len(keys[0])
        assert card == derive(keys[0], 2, 64, answer[29:32] + self.aid), "challenge is not the one foretold"
        self.enc, self.mac = Aes(derive(keys[0], 4, bits, context)), Aes(derive(keys[1], 6, bits, context))
        self.rmac, self.dek = Aes(derive(keys[1], 7, bits, context)), Aes(keys[2])
        assert answer[21:29] == derive(self.mac.key, 0, 64, context), "the card does not know the keys"
        self.chain, self.count = bytes(16), 0
        self.good(*self.raw(0x84, 0x82, level, 0, self.sign(0x82, level, 0, derive(self.mac.key, 1, 64, context)), False))
        self.level = level

    def sign(self, ins, p1, p2, data):
        self.chain = self.mac.cmac(self.chain + bytes((0x84, ins, p1, p2, len(data) + 8)) + data)
        return data + self.chain[:8]

    def command(self, ins, p1, p2, data=b""):
        """One command under the session's protection: plain data back."""
        self.count += 1
        count = self.count.to_bytes(16, "big")
        if self.level & 2 and data:
            padded = data + b"\x80" + bytes(-(len(data) + 1) % 16)
            data = self.enc.cbc(padded, self.enc.cbc(count))
        if self.level & 1:
            data = self.sign(ins, p1, p2, data)
        answer, sw = self.raw(0x84 if self.level & 1 else 0x80, ins, p1, p2, data)
        self.good(answer, sw)
        if self.level & 0x10:
            body, mac = answer[:-8], answer[-8:]
            assert mac == self.rmac.cmac(self.chain + body + sw.to_bytes(2, "big"))[:8], "MAC of the answer"
            answer = body
            if self.level & 0x20 and body:
                plain = self.enc.cbc(body, self.enc.cbc(b"\x80" + count[1:]), encrypt=False)
                answer = plain.rstrip(b"\0")[:-1]
        return answer

    def put_keys(self, version, keys, replace=0):
        def block(key):
            padded = key + bytes(-len(key) % 16)
            value = self.dek.cbc(padded)
            return b"\x88" + lv(bytes((len(key),)) + value if len(key) % 16 else value) + lv(Aes(key).kcv())
        answer = self.command(0xD8, replace, 0x81, bytes((version,)) + b"".join(map(block, keys)))
        assert answer == bytes((version,)) + b"".join(Aes(k).kcv() for k in keys)

    def install(self, file, module, aid, privileges, params=b"\xC9\x00"):
        self.command(0xE6, 0x0C, 0, lv(file) + lv(module) + lv(aid) + lv(privileges) + lv(params) + b"\0")

    def install_domain(self, aid, privileges=b"\x80\x40\x00"):
        self.install(bytes.fromhex("A0000001515350"), bytes.fromhex("A000000151535041"), aid, privileges)

    def install_applet(self, aid, params=b"\xC9\x00"):
        self.install(b"\xF0IOTSAFE", b"\xF0IOTSAFE\x01", aid, b"\0", params)

    def personalize(self, aid):
        self.command(0xE6, 0x20, 0, b"\0\0" + lv(aid) + b"\0\0\0")

    def store(self, tag, value, chunk=200, answer=False):
        """One command of an applet, in slices of that size."""
        n = len(value)
        length = bytes((n,)) if n < 128 else b"\x81" + bytes((n,)) if n < 256 else b"\x82" + n.to_bytes(2, "big")
        whole = bytes((tag,)) + length + value
        slices = [whole[i:i + chunk] for i in range(0, len(whole), chunk)]
        out = b""
        for i, part in enumerate(slices):
            last = 0x80 if i == len(slices) - 1 else 0
            out = self.command(0xE2, last | int(answer), i & 0xFF, part)
        return out
