package BenchChart;

# Copyright (C) The nginx-broadcast authors
#
# An SVG of four rows of the fan-out's table, from the JSON of a run.  It brings
# its own background, light or dark as the reader's is, so it can be read on
# any page.  CSS and attributes are longer than a line of Perl may be.

use strict;
use warnings;
use utf8;

use JSON::PP;

use BenchTable;


# title, row, and how a figure is written

my @panels = (
    [ 'CPU per delivery, one message at a time',
      'paced, server CPU per delivery, us', '%.2f µs' ],
    [ 'CPU per delivery, publishers at full speed',
      'saturated, server CPU per delivery, us', '%.2f µs' ],
    [ 'Memory of an idle WebSocket client',
      'idle client, user space, bytes', '%.0f bytes' ],
    [ 'CPU to connect a client',
      'connect, server CPU, us', '%.1f µs' ],
);

# all in pixels
my %box = (width => 400, head => 40, bar => 14, step => 24, left => 64,
           room => 200, margin => 12, foot => 30);


# Of the text of a run's JSON.  Dies with a sentence.

sub svg {
    my ($text) = @_;

    my $run = eval { decode_json($text) } or die "this is no JSON\n";
    my ($first) = grep { ($_->{kind} // '') eq 'fanout' }
                  @{$run->{table} || []};

    die "there is no table of the fan-out in it\n" if !$first;

    my %rows = map { $_->{name} => $_ }
               grep { $_->{title} eq $first->{title} } @{$run->{table}};
    my @columns = grep { exists $first->{median}{$_} }
                  BenchTable::columns_all();

    my $height = $box{head} + $box{step} * @columns + $box{margin};
    my $margin = $box{margin};
    my @drawn;

    for my $i (0 .. $#panels) {
        push @drawn, panel($margin + $i % 2 * ($box{width} + $margin),
                           $margin + int($i / 2) * ($height + $margin),
                           $height, $panels[$i], $rows{$panels[$i][1]},
                           \@columns);
    }

    my $wide = 2 * $box{width} + 3 * $margin;
    my $high = 2 * $height + 2 * $margin + $box{foot};
    my $about = escape(about($run, $first));

    push @drawn, sprintf '<text class="s" x="%d" y="%d">%s</text>',
                         2 * $margin, $high - $margin, $about;

    my $svg = join "\n", head($wide, $high), @drawn, '</svg>', '';
    utf8::encode($svg);

    return $svg;
}


sub head {
    my ($width, $height) = @_;

    return <<"END" =~ s/\n\z//r;
<svg xmlns="http://www.w3.org/2000/svg" width="$width" height="$height" viewBox="0 0 $width $height" role="img">
<title>util/bench: what a delivery, a client and a connect cost</title>
<style>
text { font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.t { font-weight: 600 }
.s { font-size: 11px; fill: #59636e }
.n { text-anchor: end }
.v { paint-order: stroke; stroke: #f6f8fa; stroke-width: 4px }
.back { fill: #fff }
.card { fill: #f6f8fa; stroke: #d1d9e0 }
.floor { fill: #818b98 }
.nchan, .nats { fill: #afb8c1 }
.events, .hub { fill: #0969da }
.aim { stroke: #cf222e; stroke-dasharray: 3 2 }
\@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .s { fill: #9198a1 }
  .back { fill: #0d1117 }
  .card { fill: #151b23; stroke: #3d444d }
  .v { stroke: #151b23 }
  .floor { fill: #9198a1 }
  .nchan, .nats { fill: #656c76 }
  .events, .hub { fill: #4493f8 }
  .aim { stroke: #f85149 }
}
</style>
<rect class="back" width="$width" height="$height"/>
END
}


# One row of the table: bars to one scale, and a line where the aim is.

sub panel {
    my ($x, $y, $height, $panel, $row, $columns) = @_;

    my ($title, undef, $format) = @$panel;
    my $median = $row ? $row->{median} : {};
    my ($most) = sort { $b <=> $a } 1e-9, grep { defined } values %$median;
    my $scale = $box{room} / $most;

    my @svg = (
        sprintf('<g transform="translate(%d %d)">', $x, $y),
        sprintf('<rect class="card" width="%d" height="%d" rx="6"/>',
                $box{width}, $height),
        sprintf('<text class="t" x="%d" y="25">%s</text>', $box{margin},
                escape($title)));

    my $top = $box{head};
    my @words;

    for my $column (@$columns) {
        my $value = $median->{$column};
        my $length = ($value // 0) * $scale;

        push @words,
            sprintf('<text class="n" x="%d" y="%d">%s</text>',
                    $box{left} - 8, $top + 11,
                    escape(BenchTable::name($column))),
            sprintf('<text class="s v" x="%.1f" y="%d">%s</text>',
                    $box{left} + $length + 6, $top + 11,
                    defined $value ? sprintf($format, $value)
                                   : 'not measured');

        push @svg, sprintf '<rect class="%s" x="%d" y="%d" width="%.1f" '
                           . 'height="%d"/>', $column, $box{left}, $top,
                           $length, $box{bar};

        $top += $box{step};
    }

    push @svg, aim($row, $scale, $top) if $row;

    # words are above the line, and keep it off

    return @svg, @words, '</g>';
}


sub aim {
    my ($row, $scale, $bottom) = @_;

    my ($limit) = sort { $a <=> $b }
                  grep { defined } map { $_->{limit} } @{$row->{aims}};

    return if !defined $limit || $limit * $scale > $box{room} * 1.1;

    my $x = $box{left} + $limit * $scale;

    return sprintf '<line class="aim" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>',
                   $x, $x, $box{head} - 4, $bottom - 4;
}


sub about {
    my ($run, $row) = @_;

    my $machine = $run->{machine};

    return sprintf '%d clients on loopback, %s cores, Linux %s, nginx %s, '
                   . 'Nchan %s, NATS %s; the dashed line is the aim',
                   $row->{clients},
                   map { $_ // 'unknown' }
                       @$machine{qw(cores kernel nginx nchan nats)};
}


sub escape {
    my ($text) = @_;

    return $text =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr =~ s/"/&quot;/gr;
}


1;
