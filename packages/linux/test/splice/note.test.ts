import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { attachmentNote, isAttachmentNote, notedAttachment } from '../../src/splice/index.ts'

const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,200}$/)
const key = fc.record({ network: name, containerId: name, ifName: fc.constantFrom('eth0', 'net1') })

describe('attachmentNote', () => {
  it('fits an alias and leads back to the key', () => {
    fc.assert(
      fc.property(key, key, (one, other) => {
        const note = attachmentNote(one)
        expect(Buffer.byteLength(note)).toBeLessThanOrEqual(255)
        expect(isAttachmentNote(note)).toBe(true)
        expect(notedAttachment(note, [other, one])).toEqual(one)
      }),
    )
  })

  it('is a hash where there is less room, and still leads back to the key', () => {
    const one = { network: 'podnet', containerId: 'c1', ifName: 'eth0' }
    const [plain, short] = [attachmentNote(one), attachmentNote(one, 20)]
    expect(plain).not.toBe(short)
    for (const note of [plain, short]) expect(notedAttachment(note, [{ ...one, ifName: 'net1' }, one])).toEqual(one)
  })

  it('does not take other people’s aliases for notes', () => {
    for (const alias of ['', 'uplink', 'cni-offload vf=soft0/3', 'cni-offload attachment=nonsense'])
      expect(notedAttachment(alias, [])).toBeUndefined()
    expect(isAttachmentNote('cni-offload vf=soft0/3')).toBe(false)
  })
})
