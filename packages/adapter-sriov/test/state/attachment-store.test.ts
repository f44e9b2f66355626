import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { AttachRequest, AttachResult } from '@cni-offload/sdk'
import { parseSubnet, type Pool } from '@cni-offload/sdk/pool'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AttachmentStore } from '../../src/state/attachment-store.ts'

const CLOCK = { now: (): number => Date.UTC(2026, 10, 23) }
const POOL: Pool = { name: 'net 10.0.0.0/29', subnet: parseSubnet('10.0.0.0/29') }
const MAC = '02:00:00:00:00:01'

const request = (id: number, netconf: object = {}): AttachRequest => ({
  key: { network: 'net', containerId: `c${id}`, ifName: 'eth0' },
  pod: { namespace: 'n', name: `c${id}`, uid: '' },
  port: { vf: { device: 'card', index: id }, name: `p${id}` },
  vfMac: MAC,
  netconf: { ...netconf },
  runtimeConfig: {},
  cniArgs: {},
  flags: { ipsec: false },
})
const result = (addresses: readonly string[], mac = MAC): AttachResult => ({
  mac,
  mtu: 1500,
  ips: addresses.map((address) => ({ address: `${address}/29` })),
  routes: [],
  neighbours: [],
  dns: {},
  sysctls: {},
})

describe('AttachmentStore', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sriov-store-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))
  const file = (): string => join(folder, 'sriov.db')
  const open = (): AttachmentStore => new AttachmentStore(file(), CLOCK)

  test('remembers what has begun, without an answer until there is one', () => {
    {
      using store = open()
      store.begin(request(1), MAC)
      store.begin(request(2), '02:00:00:00:00:02')
      store.finish(request(1, { vlan: 5 }), result(['192.0.2.1']))
    }
    using store = open()
    expect(store.get(request(1).key)).toEqual({ request: request(1, { vlan: 5 }), result: result(['192.0.2.1']) })
    expect(store.get(request(2).key)).toEqual({ request: request(2) })
    expect(store.all()).toHaveLength(2)
    store.begin(request(1), MAC)
    expect(store.get(request(1).key), 'begun anew').toEqual({ request: request(1) })
    store.forget(request(1).key)
    store.forget(request(1).key)
    expect(store.get(request(1).key)).toBeUndefined()
  })

  test('takes of all pools or of none, and gives back with the attachment', () => {
    using store = open()
    const small: Pool = { name: 'small', subnet: parseSubnet('10.1.0.0/30') }
    const take = (id: number): AttachResult => {
      store.begin(request(id), `02:00:00:00:00:0${id}`)
      return store.assign(request(id), [POOL, small], new Map(), (addresses) => result(addresses, `02:00:00:00:00:0${id}`))
    }
    const addresses = ({ ips }: AttachResult): string[] => ips.map(({ address }) => address)
    expect(addresses(take(1))).toEqual(['10.0.0.1/29', '10.1.0.1/29'])
    take(2)
    expect(() => take(3)).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('small') }))
    store.release(request(1).key)
    expect(addresses(take(4))).toEqual(['10.0.0.3/29', '10.1.0.1/29'])
    store.forget(request(2).key)
    expect(addresses(take(5))).toEqual(['10.0.0.4/29', '10.1.0.2/29'])
  })

  test('holds what a running pod has, against everybody else', () => {
    using store = open()
    store.hold({ request: request(1), result: result(['10.0.0.1']) }, [POOL])
    store.hold({ request: request(1), result: result(['10.0.0.1']) }, [POOL])
    expect(() => store.hold({ request: request(2), result: result(['10.0.0.1'], '02:00:00:00:00:02') }, [POOL])).toThrow(
      expect.objectContaining({ code: 'ALREADY_EXISTS' }),
    )
    expect(store.all()).toHaveLength(1)
    expect(() => store.begin(request(3), MAC)).toThrow(/MAC 02:00:00:00:00:01 of net\/c3\/eth0 is that of net\/c1\/eth0/)
  })

  test.each<[string, () => void]>([
    ['is no database', () => writeFileSync(join(folder, 'sriov.db'), 'x'.repeat(8192))],
    ['has another attachment’s request', () => sql(join(folder, 'sriov.db'), "UPDATE attachments SET key = 'net/other/eth0'")],
    ['has a result that is none', () => sql(join(folder, 'sriov.db'), "UPDATE attachments SET result = '{}'")],
  ])('begins anew beside a file that %s', (_what, damage) => {
    {
      using store = open()
      store.begin(request(1), MAC)
    }
    damage()
    using store = open()
    expect(store.setAside?.path).toContain('sriov.db.unreadable-20261123')
    expect(store.all()).toEqual([])
    expect(readdirSync(folder)).toContain('sriov.db.unreadable-20261123T000000Z')
  })
})

function sql(file: string, statement: string): void {
  using db = new DatabaseSync(file)
  db.exec(statement)
}
