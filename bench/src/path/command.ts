import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Lab, LAB_ADAPTERS, type LabAdapter } from '@cni-offload/cli'
import { OffloadError } from '@cni-offload/sdk'
import { Command, Option } from 'commander'
import type { Samples, SampleInput } from './sample.ts'
import { type PathReport, summarise } from './summary.ts'

/** `bench path`: what one ADD and one DEL cost, against Go plugins that do the same physical work. */
export function pathCommand(): Command {
  return new Command('path')
    .description('ADD and DEL against host-device, bridge, a bare move and /bin/true, all in turn in the same run')
    .option('--iterations <n>', 'counted rounds', Number, 60)
    .addOption(new Option('--adapter <name>', 'adapter on the DPU').choices(LAB_ADAPTERS).default('hello'))
    .option('--json <file>', 'also write the figures as JSON')
    .action(async (options: { iterations: number; adapter: LabAdapter; json?: string }) => {
      if (process.getuid?.() !== 0)
        throw new OffloadError('PERMISSION_DENIED', 'the benchmark makes network namespaces, which only root may do', {
          hint: 'run it as root',
        })
      const report = summarise(await measure(options))
      process.stdout.write(`${table(report)}\n`)
      if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`)
    })
}

async function measure(options: { iterations: number; adapter: LabAdapter }): Promise<Samples> {
  const dir = await mkdtemp(join(tmpdir(), 'cni-offload-bench-'))
  const scratch = await mkdtemp(join(tmpdir(), 'cni-offload-bench-go-'))
  const lab = await Lab.up({ dir, prefix: 'obench', nodes: 1, vfs: 4, adapter: options.adapter })
  try {
    const node = lab.node(1)
    const input: SampleInput = {
      iterations: options.iterations,
      warmup: 20,
      shim: node.shim,
      env: node.env,
      netconf: node.netconf,
      daemonPid: node.host.pid ?? 0,
      pod: await lab.createPod('bench'),
      dir: scratch,
    }
    const sampler = fileURLToPath(new URL('./sample-main.ts', import.meta.url))
    // The sampler lives in the host's namespace, so that every contender is one plain exec away from it.
    const run = promisify(execFile)
    const { stdout } = await run('nsenter', [`--net=${lab.netns(node, 'host')}`, '--', process.execPath, sampler, JSON.stringify(input)], {
      maxBuffer: 64 * 1024 * 1024,
    })
    return JSON.parse(stdout) as Samples
  } finally {
    await lab.down()
    await rm(dir, { recursive: true, force: true })
    await rm(scratch, { recursive: true, force: true })
  }
}

function table(report: PathReport): string {
  const cell = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(2)).padStart(9)
  const rows = report.contenders.map(
    (row) =>
      `${row.name.padEnd(44)}${cell(row.addMs?.p50)}${cell(row.addMs?.p99)}${cell(row.addCpuMs)}${cell(row.delMs?.p50)}${cell(row.delMs?.p99)}${cell(row.delCpuMs)}`,
  )
  const targets = report.targets.map(
    (target) => `${target.ok ? 'met   ' : 'MISSED'} ${target.name}: ${target.value.toFixed(2)} (target ≤ ${target.limit})`,
  )
  return [
    `${''.padEnd(44)}  ADD p50      p99      CPU  DEL p50      p99      CPU   (ms, ${report.iterations} rounds)`,
    ...rows,
    '',
    ...targets,
  ].join('\n')
}
