import { type Clock, silentLogger } from '@cni-offload/sdk'
import { FakeOcteonCard, SystemError } from '@cni-offload/testing/octeon'
import { expect, it, vi } from 'vitest'
import { LastResort } from '../../src/host/last-resort.ts'

const signal = AbortSignal.timeout(30_000)

function clockAt(): Clock & { ms: number } {
  return {
    ms: 1_000_000,
    now() {
      return this.ms
    },
    monotonic() {
      return this.ms
    },
    sleep: () => Promise.reject(new Error('nothing waits here')),
  }
}

it('is due when the link was lost for a minute without a break, and then not again for five', async () => {
  await using card = await FakeOcteonCard.create()
  const clock = clockAt()
  const resort = new LastResort({ machine: card.host, clock, log: silentLogger })
  const after = (ms: number, lost = true): boolean => {
    clock.ms += ms
    return resort.isDue(lost)
  }
  expect([after(0), after(59_000), after(500, false), after(500), after(59_999), after(1)]).toEqual([
    false,
    false,
    false,
    false,
    false,
    true,
  ])
  await resort.take(signal)
  expect([after(60_000), after(239_999), after(1)]).toEqual([false, false, true])
})

it('unloads the driver of functions before that of the physical one, and loads them the other way round', async () => {
  await using card = await FakeOcteonCard.create({ vfs: 2 })
  const run = vi.spyOn(card.host, 'run')
  await new LastResort({ machine: card.host, clock: clockAt(), log: silentLogger }).take(signal)
  expect(run.mock.calls.map(([argv]) => argv.join(' '))).toEqual([
    'modprobe -r octeon_ep_vf',
    'modprobe -r octeon_ep',
    'modprobe octeon_ep',
    'modprobe octeon_ep_vf',
  ])
  expect(await card.host.readlink('/sys/bus/pci/devices/0000:01:00.0/driver')).toMatch(/\/octeon_ep$/)
})

it('names the command that was refused, or is not there', async () => {
  await using card = await FakeOcteonCard.create()
  const resort = new LastResort({ machine: card.host, clock: clockAt(), log: silentLogger })
  card.host.install('modprobe', async () => ({ exitCode: 1, exitSignal: null, stdout: '', stderr: 'Module octeon_ep_vf is in use\n' }))
  await expect(resort.take(signal)).rejects.toMatchObject({
    code: 'HARDWARE_FAILURE',
    message: 'modprobe -r octeon_ep_vf: Module octeon_ep_vf is in use',
  })
  card.host.install('modprobe', () => Promise.reject(new SystemError('ENOENT', 'spawn modprobe', 'modprobe')))
  await expect(resort.take(signal)).rejects.toMatchObject({ code: 'HARDWARE_FAILURE', hint: 'Install kmod.' })
})
