import type { Machine } from '@cni-offload/linux/machine'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { endEarlierAgents } from '../../src/control-agent/orphans.ts'

const OURS = ['/usr/bin/octep_cp_agent', '/run/c.cfg', '--', '--pem_dev', '0001:00:10.0']
const PEM = ['--', '--pem_dev', '0001:00:10.0']

const OWN_SERVICE = '0::/system.slice/cni-offload-agent.service\n'
const UNIT = '1:name=systemd:/system.slice/octep-cp-agent.service\n0::/system.slice/octep-cp-agent.service/x\n'

interface Process {
  readonly argv: readonly string[]
  readonly comm?: string
  readonly netns?: string
  readonly started?: string
  /** Its control groups, as the kernel writes them. */
  readonly cgroup?: string
}

/** Processes end by the signals that they are sent. */
function machineOf(processes: Record<number, Process>, noted?: string) {
  const left = new Map(Object.entries(processes))
  const sent: string[] = []
  const file = (path: string): string => {
    const [, pid = '', name = ''] = /^\/proc\/(\d+)\/(.+)$/.exec(path) ?? []
    const found = left.get(pid)
    if (path === '/proc/self/ns/net') return 'net:[1]'
    if (path === '/proc/self/cgroup') return '0::/system.slice/cni-offload-agent.service\n'
    if (path === '/run/pid' && noted !== undefined) return noted
    if (found === undefined) throw Object.assign(new Error(path), { code: 'ENOENT' })
    const { argv, comm = 'octep_cp_agent', netns = 'net:[1]', started = '7', cgroup = '0::/user.slice/session-1.scope\n' } = found
    if (name === 'ns/net') return netns
    if (name === 'cgroup') return cgroup
    return name === 'stat' ? `${pid} (${comm}) S ${'0 '.repeat(18)}${started} 0` : argv.map((word) => `${word}\0`).join('')
  }
  const machine = {
    read: async (path: string) => file(path),
    readlink: async (path: string) => file(path),
    list: async () => [...left.keys(), 'self', 'meminfo'],
  } as unknown as Machine
  const signalProcess = (pid: number, signal: string): void => {
    sent.push(`${signal} ${pid}`)
    left.delete(String(pid))
  }
  const deps = { machine, argv: OURS, program: 'octep_cp_agent', pidFile: '/run/pid', signalProcess, clock: systemClock, log: silentLogger }
  return { sent, run: () => endEarlierAgents(deps, new AbortController().signal) }
}

describe('endEarlierAgents', () => {
  it.each<[string, Record<number, Process>, string | undefined, string[]]>([
    ['none', { 5: { argv: ['/bin/sh'], comm: 'sh' } }, undefined, []],
    ['one with the same configuration', { 5: { argv: OURS } }, undefined, ['SIGINT 5']],
    ['one that its own service has left', { 5: { argv: OURS, cgroup: OWN_SERVICE } }, undefined, ['SIGINT 5']],
    ['the noted one, of whichever service', { 5: { argv: OURS, cgroup: UNIT } }, '{"pid":5,"started":"7"}', ['SIGINT 5']],
    ['one that an interpreter runs', { 5: { argv: ['/usr/bin/node', ...OURS], comm: 'node' } }, undefined, ['SIGINT 5']],
    ['the noted one, whatever its command', { 5: { argv: ['x'], comm: 'x' } }, '{"pid":5,"started":"7"}', ['SIGINT 5']],
    ['a new process with the noted number', { 5: { argv: ['x'], comm: 'x', started: '8' } }, '{"pid":5,"started":"7"}', []],
    ['one of another network namespace', { 5: { argv: OURS, netns: 'net:[2]' } }, undefined, []],
    ['a file that cannot be read', { 5: { argv: ['x'], comm: 'x' } }, 'no JSON', []],
    ['one for another card', { 5: { argv: ['octep_cp_agent', '/o.cfg', '--', '--pem_dev', '0003:00:10.0'] } }, undefined, []],
    ['somebody who only has its configuration open', { 5: { argv: ['vim', '/run/c.cfg'], comm: 'vim' } }, undefined, []],
  ])('finds %s', async (_, processes, noted, signals) => {
    const { sent, run } = machineOf(processes, noted)
    expect(await run()).toBe(signals.length)
    expect(sent).toEqual(signals)
  })

  it.each([
    ['of the same link', ['octep_cp_agent', '/o.cfg', ...PEM]],
    ['of the oldest kind, which takes what there is', ['./octep_cp_agent', 'cn106xx.cfg']],
  ])("does not touch somebody else's agent %s, and says whose it is", async (_, argv) => {
    const { sent, run } = machineOf({ 5: { argv } })
    await expect(run()).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: `another control agent serves this card: process 5, ${argv.join(' ')}`,
    })
    expect(sent).toEqual([])
  })

  it('does not take an agent with the same configuration from the unit that runs it, which would start it again', async () => {
    const { sent, run } = machineOf({ 5: { argv: OURS, cgroup: UNIT } })
    await expect(run()).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining('process 5 of octep-cp-agent.service'),
      hint: expect.stringContaining('run: external'),
    })
    expect(sent).toEqual([])
  })
})
