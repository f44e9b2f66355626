import { OffloadError, type VfAdminSetting } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { pickVfSettings, probeVfSettings, setVfAndReadBack, unmetVfSettings, type VfPlace } from '../../src/function/index.ts'
import type { NetOp, VfAdmin } from '../../src/index.ts'

const PRISTINE: VfAdmin = {
  vf: 0,
  mac: '00:00:00:00:00:00',
  vlan: { id: 0, qos: 0, protocol: '802.1q' },
  minTxRate: 0,
  maxTxRate: 0,
  spoofCheck: true,
  trust: false,
  linkState: 'auto',
}

type Behaviour = 'does' | 'pretends' | 'refuses'

/** A driver that does, pretends or refuses each setting. */
class Driver {
  admin = PRISTINE
  readonly #behaviour: (setting: string) => Behaviour

  constructor(behaviour: (setting: string) => Behaviour) {
    this.#behaviour = behaviour
  }

  get place(): VfPlace {
    return { net: { apply: this.#apply, vfs: async () => [this.admin] }, netns: '/run/netns/host', pf: 'enp1s0', vf: 0 }
  }

  readonly #apply = async (_netns: string, ops: readonly NetOp[]): Promise<void> => {
    for (const op of ops) {
      if (op.op !== 'vf.set') throw new Error(`unexpected ${op.op}`)
      for (const [setting, value] of Object.entries(op.settings)) {
        const behaviour = this.#behaviour(setting)
        if (behaviour === 'refuses') throw new OffloadError('KERNEL_REFUSED', `vf.set: ${setting}: ENOTSUP`)
        if (behaviour === 'does') this.admin = { ...this.admin, [setting]: value }
      }
    }
  }
}

const outcomes = async (driver: Driver): Promise<Record<VfAdminSetting, unknown>> =>
  Object.fromEntries(await probeVfSettings(driver.place)) as Record<VfAdminSetting, unknown>

describe('settings of a VF', () => {
  it('of a driver that answers success and does nothing are known as pretended, all of them', async () => {
    const driver = new Driver(() => 'pretends')
    expect(new Set(Object.values(await outcomes(driver)))).toEqual(new Set(['pretended']))
  })

  it('of a driver that does some and refuses others are told one by one, and it is as before afterwards', async () => {
    const driver = new Driver((setting) => (setting === 'mac' ? 'does' : setting === 'vlan' ? 'pretends' : 'refuses'))
    expect(await outcomes(driver)).toMatchObject({ mac: 'set', vlan: 'pretended', trust: { refused: expect.stringContaining('ENOTSUP') } })
    expect(driver.admin).toEqual(PRISTINE)
  })

  it('that all are done are all known as set, and set back', async () => {
    const driver = new Driver(() => 'does')
    expect(Object.keys(await outcomes(driver))).toHaveLength(6)
    expect(new Set(Object.values(await outcomes(driver)))).toEqual(new Set(['set']))
    expect(driver.admin).toEqual(PRISTINE)
  })

  it('are tried with a rate that a slow link carries, also where that is the limit already', async () => {
    const driver = new Driver(() => 'does')
    const tried: (number | undefined)[] = []
    const net: VfPlace['net'] = {
      ...driver.place.net,
      async apply(netns, ops) {
        const rates = ops.flatMap((op) => (op.op === 'vf.set' ? [op.settings.maxTxRate] : []))
        if (rates.some((rate) => rate !== undefined && rate > 1000)) throw new OffloadError('KERNEL_REFUSED', 'vf.set: EINVAL')
        tried.push(...rates)
        await driver.place.net.apply(netns, ops)
      },
    }
    for (const maxTxRate of [0, 100, 1000]) {
      driver.admin = { ...PRISTINE, maxTxRate }
      expect(await probeVfSettings({ ...driver.place, net }, ['rate'])).toEqual(new Map([['rate', 'set']]))
      expect(driver.admin.maxTxRate).toBe(maxTxRate)
    }
    expect(tried).toEqual([100, 0, 200, 100, 100, 1000])
  })

  it('are tried as far as that is wanted', async () => {
    const tried: string[] = []
    const driver = new Driver((setting) => {
      tried.push(setting)
      return 'does'
    })
    expect(await probeVfSettings(driver.place, ['trust'])).toEqual(new Map([['trust', 'set']]))
    expect(new Set(tried)).toEqual(new Set(['trust']))
  })

  it('can be taken apart and compared, however their fields are ordered', () => {
    const vlan = { protocol: '802.1q', qos: 0, id: 0 } as const
    expect(unmetVfSettings(PRISTINE, { vlan, trust: true, maxTxRate: 0 })).toEqual({ trust: true })
    expect(pickVfSettings(PRISTINE, ['rate', 'trust'])).toEqual({ minTxRate: 0, maxTxRate: 0, trust: false })
  })

  it('leave alone what is not wanted, and a rate keeps its other end', async () => {
    const driver = new Driver(() => 'does')
    driver.admin = { ...PRISTINE, minTxRate: 10 }
    expect(await setVfAndReadBack(driver.place, { maxTxRate: 100 })).toEqual(new Map([['rate', 'set']]))
    expect(driver.admin).toEqual({ ...PRISTINE, minTxRate: 10, maxTxRate: 100 })
  })

  it('that cannot be set back are told', async () => {
    let sets = 0
    const driver = new Driver((setting) => (setting === 'trust' && ++sets > 1 ? 'pretends' : 'does'))
    await expect(probeVfSettings(driver.place)).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining('trust'),
    })
  })

  it('of a VF that the driver does not tell of cannot be known', async () => {
    const { place } = new Driver(() => 'does')
    await expect(probeVfSettings({ ...place, vf: 3 })).rejects.toMatchObject({ code: 'NOT_FOUND', message: 'enp1s0 tells of no VF 3' })
  })

  it('are not hidden by a failure of another kind', async () => {
    const { place } = new Driver(() => 'does')
    const net = { ...place.net, apply: () => Promise.reject(new OffloadError('NOT_FOUND', 'no such device')) }
    await expect(setVfAndReadBack({ ...place, net }, { trust: true })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
