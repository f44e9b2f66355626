import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Lab, LAB_ADAPTERS, type LabAdapter } from '@cni-offload/cli'
import { nodeShimPath } from '@cni-offload/shim/build'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, EVERYTHING, needsRoot, NOTHING_HELD } from './fixture.ts'

const folder = process.env['CNI_CONFORMANCE'] ?? fileURLToPath(new URL('../../shared/conformance', import.meta.url))
const suite = resolve(folder, 'run.py')
const why = existsSync(suite) ? '' : ' and the conformance suite: name its folder in CNI_CONFORMANCE'
const cli = fileURLToPath(import.meta.resolve('@cni-offload/cli/main'))

/** VFs of the lab, which is also the size of its pool: an ADD more has to fail. */
const VFS = 10

/**
 * IPAM plugins of the host have a run of their own: in these networks addresses are the DPU's business. State of `hello` and `cilium` is a database, not a folder of
 * files. Which addresses pods get is Cilium's decision.
 */
const NOT_FOR_US = {
  delegate: /^ipam-/,
  hello: /^(ipam-|gc-stale-state$)/,
  cilium: /^(ipam-|gc-stale-state$|add-runtimeConfig-ips)/,
  'cilium-splice': /^(ipam-|gc-stale-state$|add-runtimeConfig-)/,
  sriov: /^(ipam-|gc-stale-state$)/,
}

/**
 * What fails for a reason. Cilium gives each interface the same default route over the same gateway, so that a pod has one interface in
 * its network: a limit of Cilium, as with cilium-cni.
 */
const KNOWN = { delegate: /^$/, hello: /^$/, cilium: /^add-second-ifname /, 'cilium-splice': /^add-second-ifname /, sriov: /^$/ }

/** What a runtime may ask of the network. */
const CAPABILITIES: Readonly<Record<LabAdapter, readonly string[]>> = {
  delegate: ['--capabilities', 'mac,ips', '--want-ip', '10.244.1.77/24'],
  hello: ['--capabilities', 'mac,ips', '--want-ip', '10.244.1.77/24'],
  cilium: ['--capabilities', 'mac'],
  'cilium-splice': [],
  sriov: ['--capabilities', 'mac,ips', '--want-ip', '10.244.1.77/16'],
}

/**
 * The compiled executable with this adapter passes all cases: it runs no plugins, which take most of the time. Of the other pairs of
 * executable and adapter only what either can spoil for the other is run, as long as CNI_CONFORMANCE_PAIRS is not "all".
 */
const WHOLE: LabAdapter = 'hello'
const EVERY_PAIR = EVERYTHING || process.env['CNI_CONFORMANCE_PAIRS'] === 'all'
const SAMPLE = [
  'version-answers',
  'add-shape-*',
  'add-runtimeConfig-*',
  'prevresult-*',
  'check-ok-*',
  'check-*-changed',
  'del-netns-*',
  'gc-*',
]

interface Verdicts {
  readonly passed: number
  readonly failed: readonly string[]
  readonly skipped: readonly string[]
}

async function conform(e2e: E2eLab, plugin: string, only: readonly string[] = [], more: readonly string[] = []): Promise<Verdicts> {
  const { lab } = e2e
  const node = lab.node(1)
  const daemon = (verb: string): string => [process.execPath, cli, 'lab', verb, 'agent', '--state', lab.dir].join(' ')
  const { stdout } = await new Promise<{ stdout: string }>((done) => {
    execFile(
      'nsenter',
      [
        `--net=${lab.netns(node, 'host')}`,
        ...['python3', suite, '--plugin', plugin, '--conf', node.netconf, '--setup-netns', '--ping'],
        ...['--env', `CNI_OFFLOAD_SOCKET=${node.socket}`, '--parallel', String(VFS - 2), '--pool-conf', `${node.netconf}:${VFS}`],
        ...[...CAPABILITIES[lab.state.adapter], '--state-dir', join(node.dir, 'ipam')],
        ...['--stop-backend', daemon('kill'), '--start-backend', daemon('start'), ...only.flatMap((glob) => ['--only', glob]), ...more],
      ],
      { maxBuffer: 1 << 26 },
      (error, out, err) => done({ stdout: error === null || out !== '' ? out : `FAIL the suite could not run: ${error.message}${err}` }),
    )
  })
  const lines = stdout.trim().split('\n')
  const those = (verdict: string): string[] =>
    lines.filter((line) => line.startsWith(`${verdict} `)).map((line) => line.slice(verdict.length + 1))
  const [, passed, failures] = /^(\d+) passed, (\d+) failed$/.exec(lines.at(-1) ?? '') ?? []
  const failed = those('FAIL')
  return {
    passed: Number(passed ?? 0),
    failed: Number(failures) === failed.length ? failed : [...failed, lines.at(-1) ?? 'nothing was printed'],
    skipped: those('SKIP').map((line) => line.split(' ')[0] ?? ''),
  }
}

/** The build for Node as one executable file, as the suite wants it. */
async function nodeExecutable(dir: string): Promise<string> {
  const file = join(dir, 'offload-cni')
  const env = `NODE_COMPILE_CACHE='${join(dir, 'compiled')}'`
  await writeFile(file, `#!/bin/sh\n${env} exec '${process.execPath}' --disable-warning=ExperimentalWarning '${nodeShimPath()}'\n`)
  await chmod(file, 0o755)
  return file
}

describe.skipIf(needsRoot || why !== '')(`the conformance suite (needs root for namespaces${why})`, () => {
  // All at once: mostly they wait for the kernel.
  describe.concurrent.each(LAB_ADAPTERS.filter((adapter) => EVERY_PAIR || adapter === 'delegate' || adapter === 'hello'))(
    'with adapter %s',
    (adapter) => {
      let e2e: E2eLab

      beforeAll(async () => {
        e2e = await E2eLab.up({ nodes: 1, vfs: VFS, adapter })
      }, 120_000)

      afterAll(async () => {
        if (e2e === undefined) return
        // The suite has restarted the agent by the command, so that only the lab's folder knows the process.
        await using restarted = await Lab.open(e2e.lab.dir)
        await restarted.kill(restarted.node(1), 'agent', 'SIGTERM')
        await e2e[Symbol.asyncDispose]()
      })

      test('the executables pass', { timeout: 600_000 }, async () => {
        const node = e2e.lab.node(1)
        // What the build for Node could spoil does not depend on the adapter.
        for (const build of adapter !== WHOLE && !EVERY_PAIR ? ['compiled'] : ['compiled', 'for Node']) {
          const all = EVERY_PAIR || (adapter === WHOLE && build === 'compiled')
          const verdicts = await conform(e2e, build === 'compiled' ? node.shim : await nodeExecutable(e2e.lab.dir), all ? [] : SAMPLE)
          expect(
            verdicts.failed.filter((line) => !KNOWN[adapter].test(line)),
            build,
          ).toEqual([])
          expect(verdicts.passed, build).toBeGreaterThan(all ? 200 : 15)
          expect(verdicts.skipped.filter((id) => !NOT_FOR_US[adapter].test(id))).toEqual([])
          expect(await e2e.held(node)).toEqual(NOTHING_HELD)
        }
      })
    },
  )
})

/** A plugin of the specification's newest version, made of the installed host-local, which may not know that yet. */
const NEWEST_IPAM = `#!/bin/sh
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}' ;;
ADD | DEL | CHECK) sed 's/"cniVersion": *"1.1.0"/"cniVersion":"1.0.0"/g' | /usr/lib/cni/host-local ;;
esac
`

describe.skipIf(needsRoot || why !== '' || !EVERYTHING)(
  `the conformance suite, of IPAM on the host (needs root for namespaces, E2E_EVERYTHING${why})`,
  () => {
    test('passes, but for a DEL that succeeds although the plugin has failed, which is repeated', { timeout: 300_000 }, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'conformance-ipam-'))
      try {
        await writeFile(join(dir, 'newest'), NEWEST_IPAM)
        await chmod(join(dir, 'newest'), 0o755)
        const ipam = { type: 'newest', dataDir: join(dir, 'leases'), ranges: [[{ subnet: '10.96.0.0/24' }]] }
        await using e2e = await E2eLab.up({ nodes: 1, vfs: VFS, adapter: 'sriov', extra: { netconf: { hostIPAM: true, ipam } } })
        const { passed, failed, skipped } = await conform(e2e, e2e.lab.node(1).shim, ['ipam-*'], ['--cni-path', dir])
        expect(failed.filter((line) => !line.startsWith('ipam-DEL-fails '))).toEqual([])
        expect(passed).toBeGreaterThanOrEqual(9)
        expect(skipped).toEqual([])
        expect(await e2e.held(e2e.lab.node(1))).toEqual(NOTHING_HELD)
      } finally {
        await rm(dir, { recursive: true, force: true })
      }
    })
  },
)
