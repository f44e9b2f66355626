import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { EVERYTHING, needsRoot } from './fixture.ts'

const run = promisify(execFile)
const cli = fileURLToPath(import.meta.resolve('@cni-offload/cli/main'))

/** What only a Cilium has to show, and how often it is looked at. */
const CILIUM_ONLY: Readonly<Record<string, number>> = {
  '^encryption between nodes': 2,
  '^no policy: .* lands on every port$': 4,
  '^(policy|agent killed): .* lands on port 80 and no other$': 4,
  '^agent back: .* lands on port 80 and no other$': 3,
  '^(policy|agent killed|agent back): xwing-[12] from the (same|other) node lands on no port$': 6,
  '^agent killed: (STATUS|ADD)': 2,
  '^ping v[46] .* while cilium-agent of node1 was killed and restarted$': 6,
  '^policy taken back: .* lands on every port$': 4,
}

/** What only a card with a control plane has to show. */
const OCTEON_ONLY: Readonly<Record<string, number>> = {
  '^the doctor, (before|standstill|hanging)$': 3,
  '^the doctor, after octep_cp_agent (was killed|did not get over a reset|hung)$': 3,
  '^the doctor, after (the PCI link was reset|everything on the DPU had stood still)$': 2,
  '^a new pod comes after octep_cp_agent (was killed|did not get over a reset|hung)$': 3,
  '^a new pod comes after (the PCI link was reset|everything on the DPU had stood still)$': 2,
  '^standstill: (the host gives the card up|STATUS says that there is no network)$': 2,
  '^ping v[46] .* while octep_cp_agent (is killed|hangs, and the host does not look any more)$': 12,
  '^ping v[46] .* while everything on the DPU stands still$': 6,
  '^ping v[46] .* while the host resets the PCI link( and octep_cp_agent does not get over it)?$': 12,
}

test.skipIf(needsRoot).each([
  ['delegate', 'soft'],
  ['hello', 'octeon'],
  // The tests of Cilium show the rest of what this one does.
  ...(EVERYTHING ? [['cilium', 'soft'] as const] : []),
] as const)(
  'the demo succeeds with adapter %s over hardware %s and says so in its JSON (needs root for namespaces)',
  async (adapter, hardware) => {
    const dir = await mkdtemp(join(tmpdir(), 'cni-offload-demo-test-'))
    try {
      const json = join(dir, 'demo.json')
      const { stdout } = await run(process.execPath, [cli, 'demo', '--adapter', adapter, '--hardware', hardware, '--json', json], {
        timeout: 240_000,
      })
      expect(stdout).toContain('nothing leaked')
      const report = JSON.parse(await readFile(json, 'utf8'))
      expect(report.nodes).toHaveLength(2)
      expect(report.pods).toHaveLength(4)
      expect(report.checks.length).toBeGreaterThan(30)
      expect(report.checks.filter((check: { ok: boolean }) => !check.ok)).toEqual([])
      const checks = new Map<string, string>(report.checks.map((check: { name: string; seen: string }) => [check.name, check.seen]))
      const shown = (name: RegExp): string[] => [...checks.keys()].filter((candidate) => name.test(candidate))
      for (const [name, count] of Object.entries(CILIUM_ONLY))
        expect(shown(new RegExp(name)), name).toHaveLength(adapter === 'cilium' ? count : 0)
      for (const [name, count] of Object.entries(OCTEON_ONLY))
        expect(shown(new RegExp(name)), name).toHaveLength(hardware === 'octeon' ? count : 0)
      if (hardware === 'octeon') {
        expect(checks.get('the doctor, standstill')).toMatch(/Missed \d+ heartbeats/)
        expect(checks.get('the doctor, after octep_cp_agent hung')).toContain('its loop has stood still for 5 s')
        expect(checks.get('the doctor, after octep_cp_agent did not get over a reset')).toContain('could not set up PCI link 0 again')
      }
      if (adapter === 'cilium') {
        expect(checks.get('encryption between nodes, as cilium-agent of node1 tells it')).toBe(
          'not encrypted: the agent has no encryption (encryption mode Disabled, GET /healthz)',
        )
        expect(checks.get('policy: tiefighter-2 from the other node lands on port 80 and no other')).toBe(
          '80/v4 landed, 80/v6 landed, 81/v4 no answer, 81/v6 no answer',
        )
        expect(checks.get('agent killed: ADD of a new pod is refused')).toContain('no cilium-agent listens')
      }
      expect(report.leaks).toEqual({ vfs: 0, ports: 0, netns: 0, links: 0, leases: 0 })
      expect(Object.keys(report.latencyMs)).toEqual(['add', 'check', 'del'])
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  },
  270_000,
)
