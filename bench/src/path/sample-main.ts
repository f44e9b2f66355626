import { createLinuxNet } from '@cni-offload/linux'
import { type SampleInput, takeSamples } from './sample.ts'

const input = JSON.parse(process.argv[2] ?? '') as SampleInput
await using net = createLinuxNet()
process.stdout.write(JSON.stringify(await takeSamples(net, input)))
