import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { runDemo } from '../demo/run.ts'
import type { LabAdapter, LabHardware } from '../lab/model.ts'
import { adapterOption, count, hardwareOption, requireRoot } from './options.ts'

/** `offload demo`. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('builds two nodes with software DPUs, runs pods over them, proves the path, and takes all down')
    .option('--nodes <n>', 'nodes', count, 2)
    .addOption(adapterOption())
    .addOption(hardwareOption())
    .option('--json <file>', 'also write what was found as JSON')
    .action(async (options: { nodes: number; adapter: LabAdapter; hardware: LabHardware; json?: string }) => {
      requireRoot('the demo')
      const started = performance.now()
      const say = (text: string): boolean => process.stdout.write(`${text}\n`)
      const dir = await mkdtemp(join(tmpdir(), 'cni-offload-demo-'))
      try {
        const report = await runDemo({
          dir,
          prefix: 'odemo',
          nodes: options.nodes,
          adapter: options.adapter,
          hardware: options.hardware,
          progress: say,
        })
        if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`)
        const { add, check, del } = report.latencyMs
        say(
          `\nverb    p50 ms   p99 ms\nADD   ${cell(add.p50)} ${cell(add.p99)}\nCHECK ${cell(check.p50)} ${cell(check.p99)}\nDEL   ${cell(del.p50)} ${cell(del.p99)}`,
        )
        say(
          `\nleft behind: ${Object.entries(report.leaks)
            .map(([what, number]) => `${number} ${what}`)
            .join(', ')}`,
        )
        const failed = report.checks.filter((check) => !check.ok)
        const leaked = Object.values(report.leaks).some((number) => number !== 0)
        say(
          `${report.checks.length - failed.length} of ${report.checks.length} checks passed, ${leaked ? 'SOMETHING LEAKED' : 'nothing leaked'}, ${((performance.now() - started) / 1000).toFixed(1)} s`,
        )
        if (failed.length > 0 || leaked) process.exitCode = 1
      } finally {
        await rm(dir, { recursive: true, force: true })
      }
    })
}

function cell(ms: number): string {
  return ms.toFixed(1).padStart(8)
}
