import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { AttachRequest } from '@cni-offload/sdk'
import { pluginList } from '@cni-offload/sdk/exec'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AttachmentStore, type StoredAttachment } from '../../src/index.ts'

const ASIDE = 'delegate.db.unreadable-20261123T000000Z'

const attachment = (containerId: string, index: number): StoredAttachment => {
  const key = { network: 'podnet', containerId, ifName: 'eth0' }
  const port = { vf: { device: 'card', index }, name: `p${index}` }
  const request: AttachRequest = {
    key,
    pod: { namespace: 'n', name: containerId, uid: '' },
    port,
    vfMac: '02:00:00:00:00:01',
    netconf: { name: 'podnet' },
    runtimeConfig: { portMappings: [{ hostPort: 80 }] },
    cniArgs: {},
    flags: { ipsec: false },
  }
  return { key, port, request, list: pluginList.parse({ cniVersion: '1.0.0', name: 'podnet', plugins: [{ type: 'bridge' }] }) }
}

describe('AttachmentStore', () => {
  let folder: string
  let file: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'delegate-store-'))
    file = join(folder, 'delegate.db')
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const open = (): AttachmentStore => new AttachmentStore(file, { now: () => Date.UTC(2026, 10, 23) })
  const sql = (statement: string): void => {
    using db = new DatabaseSync(file)
    db.exec(statement)
  }
  const fill = (): void => {
    using store = open()
    for (let n = 0; n < 20; n++) store.put(attachment(`c${n}`, n))
  }

  it('has again what was put, by key and by port', () => {
    fill()
    using store = open()
    expect(store.setAside).toBeUndefined()
    expect(store.all()).toHaveLength(20)
    expect(store.get(attachment('c7', 7).key)).toEqual(attachment('c7', 7))
    expect(store.byPort(attachment('c7', 7).port)).toEqual([attachment('c7', 7)])
  })

  it.each([
    ['garbage', () => writeFileSync(file, 'x'.repeat(8192))],
    ['a truncated file', () => truncateSync(file, 5000)],
    ['a row that is no attachment', () => sql(`UPDATE attachments SET body = '{}' WHERE vf = 'card/3'`)],
    ['a row under the key of another', () => sql(`UPDATE attachments SET key = 'podnet/other/eth0' WHERE vf = 'card/3'`)],
    ['a row under the port of another', () => sql(`UPDATE attachments SET vf = 'card/99' WHERE vf = 'card/3'`)],
  ])('sets aside %s, and begins anew', (_what, damage) => {
    fill()
    damage()
    using store = open()
    expect(store.setAside?.path).toBe(join(folder, ASIDE))
    expect(store.all()).toEqual([])
    store.put(attachment('new', 0))
    expect(readdirSync(folder)).toContain(ASIDE)
  })

  it('leaves a file alone that is newer, or that another adapter has open', () => {
    fill()
    {
      using _first = open()
      expect(open).toThrow(
        expect.objectContaining({ code: 'JOURNAL_FAILURE', message: expect.stringMatching(/another delegate adapter runs/) }),
      )
    }
    sql('PRAGMA user_version = 2')
    expect(open).toThrow(expect.objectContaining({ code: 'JOURNAL_FAILURE', message: expect.stringMatching(/schema version 2/) }))
    expect(readdirSync(folder)).toEqual(['delegate.db'])
  })
})
