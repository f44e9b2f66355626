import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatPortNote, isNoteOf, parsePortNote } from '../../src/agent-api/port-note.ts'

const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,200}$/)
const key = fc.record({ network: name, containerId: name, ifName: fc.constantFrom('eth0', 'net]1') })
const alias = fc.oneof(
  fc.stringMatching(/^[ -~]{0,100}$/),
  fc.constant('cni-offload port=soft0/1 name=soft0p1 mac=02:00:00:00:00:01 mtu=1500'),
)
const mtu = fc.integer({ min: 68, max: 65_535 })
const mac = '02:00:00:00:00:01'

describe('the note on a port', () => {
  it('tells whose it is and how it was, whatever alias it had', () => {
    fc.assert(
      fc.property(key, key, alias, mtu, (one, other, before, was) => {
        const text = formatPortNote('p0', one, { alias: before, mtu: was, mac })
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(255)
        const note = parsePortNote(text)
        expect(note).toMatchObject({ alias: before, mtu: was, mac })
        if (note === undefined) return
        expect(isNoteOf(note, one)).toBe(true)
        expect(isNoteOf(note, other)).toBe(JSON.stringify(one) === JSON.stringify(other))
      }),
    )
  })

  it('is in no alias of others, and refuses one that leaves no room', () => {
    for (const text of ['', 'uplink', 'uplink [spare]', 'cni-offload attachment=podnet/c1/eth0'])
      expect(parsePortNote(text)).toBeUndefined()
    const one = { network: 'podnet', containerId: 'c1', ifName: 'eth0' }
    expect(() => formatPortNote('p0', one, { alias: 'x'.repeat(200), mtu: 1500, mac })).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringMatching(/port p0 has 200 bytes/) }),
    )
  })
})
