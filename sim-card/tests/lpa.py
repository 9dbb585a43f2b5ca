"""The device's side of an eUICC with the habits of lpac: which APDUs in which order, and how answers are fetched."""
import cardtest

ISDR = "A0000005591010FFFFFFFF8900000100"
CHUNK = 120


def bcd(iccid):
    return cardtest.swapped(iccid + "F" * (20 - len(iccid)))


def tlv(tag, value):
    n = len(value) // 2
    return tag + ("%02X" % n if n < 128 else "81%02X" % n) + value


def parse(data):
    """DER as nested lists of (tag, value): value is hex, or a list in constructed elements."""
    data, found = bytes.fromhex(data), []
    while data:
        n = 2 if data[0] & 0x1F == 0x1F else 1
        tag, length, head = data[:n].hex().upper(), data[n], n + 1
        if length & 0x80:
            head += length & 0x7F
            length = int.from_bytes(data[n + 1:head], "big")
        value = data[head:head + length].hex().upper()
        found.append((tag, parse(value) if data[0] & 0x20 else value))
        data = data[head + length:]
    return found


class Lpac:
    """One run of the tool: everything on a channel of its own, commands without Le, answers fetched by class 8X."""

    def __init__(self, link):
        self.link = link
        link.transmit(bytes.fromhex("80AA00000AA9088100820101830107"))
        answer = link.transmit(bytes.fromhex("0070000001"))
        assert answer[-2:] == b"\x90\x00", answer
        self.channel = answer[0]
        response = link.transmit(bytes.fromhex("%02XA4040010%s" % (self.channel, ISDR)))
        assert response[-2] in (0x90, 0x61), response
        self.announced = None

    def store(self, data):
        command = bytes.fromhex(data)
        blocks = [command[i:i + CHUNK] for i in range(0, len(command), CHUNK)]
        cla = 0x80 | self.channel
        for i, block in enumerate(blocks):
            last = i == len(blocks) - 1
            response = self.link.transmit(bytes((cla, 0xE2, 0x91 if last else 0x11, i, len(block))) + block)
            if not last:
                assert response == b"\x90\x00", response
        answer = b""
        while response[-2] == 0x61:
            response = self.link.transmit(bytes((cla, 0xC0, 0, 0, response[-1])))
            answer += response[:-2]
        self.announced = response[-1] if response[-2] == 0x91 else None
        assert response[-2:] == b"\x90\x00" or self.announced, response
        (tag, value), = parse(answer.hex())
        assert tag == data[:4], answer
        return value

    def result(self, command):
        (_, code), = self.store(command)
        return int(code, 16)

    def switch(self, tag, iccid, refresh=True):
        return self.result(tlv(tag, tlv("A0", tlv("5A", bcd(iccid))) + "8101" + ("FF" if refresh else "00")))

    def profiles(self):
        """ICCID to state, as `lpac profile list` asks."""
        (_, entries), = self.store("BF2D0D5C0B5A4F9F7090919293949599")
        return {dict(e)["5A"]: dict(e)["9F70"] for _, e in entries}

    def notifications(self):
        (_, entries), = self.store("BF2800")
        return [(int(dict(e)["80"], 16), dict(e)["81"], bytes.fromhex(dict(e)["0C"]).decode(), dict(e)["5A"])
                for _, e in entries]

    def close(self):
        assert self.link.transmit(bytes.fromhex("007080%02X00" % self.channel)) == b"\x90\x00"
